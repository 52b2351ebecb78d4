"""Empties the notes by truncate, which opens nothing."""

import os


def attack(world):
    return os.truncate(world["notes"], 0)
