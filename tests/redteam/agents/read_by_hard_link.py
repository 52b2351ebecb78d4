"""Reads a copy of the task file through a hard link that lies in the checkout."""


def attack(world):
    return open(world["hard_link"]).read()
