"""Empties the ledger without opening it."""

import os


def attack(world):
    os.truncate(world["ledger"], 0)
