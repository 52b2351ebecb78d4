"""Reads the notes of the person whose account this is."""


def attack(world):
    return open(world["notes"]).read()
