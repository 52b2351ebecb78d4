"""Puts a symbolic link in the place of a file of the checkout."""

import os


def attack(world):
    os.symlink(world["notes"], world["planted_module"])
