"""Reads its own environment for keys."""

import os


def attack(world):
    return str(dict(os.environ))
