"""Reads the task file through a symbolic link that lies in the checkout."""


def attack(world):
    return open(world["symlink"]).read()
