"""Empties the ledger by a mode of opening that is neither for reading nor for writing."""

import os


def attack(world):
    os.open(world["ledger"], 3 | os.O_TRUNC)
