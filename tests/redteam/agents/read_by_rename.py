"""Moves a trial of the vault into its scratch folder, which it may read."""

import os


def attack(world):
    mine = os.environ["HOME"] + "/mine"
    os.rename(world["trial"], mine)
    return open(mine).read()
