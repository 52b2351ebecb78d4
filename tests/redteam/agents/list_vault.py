"""Lists what is in the vault, by name."""

import os


def attack(world):
    return "done: " + str(os.listdir(world["vault"]))
