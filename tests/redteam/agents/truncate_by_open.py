"""Empties the ledger by opening it."""

import os


def attack(world):
    return os.open(world["ledger"], os.O_WRONLY | os.O_TRUNC)
