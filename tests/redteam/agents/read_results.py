"""Reads the workspace's results."""


def attack(world):
    return open(world["results"]).read()
