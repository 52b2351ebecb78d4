"""Empties a file that it may read, by opening it for reading."""

import os


def attack(world):
    os.open(world["library"], os.O_RDONLY | os.O_TRUNC)
