"""Empties the ledger by opening it for reading, which Linux lets truncate."""

import os


def attack(world):
    return os.open(world["ledger"], os.O_RDONLY | os.O_TRUNC)
