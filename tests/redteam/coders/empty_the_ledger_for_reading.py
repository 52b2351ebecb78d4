"""Empties the ledger by opening it for reading."""

import os


def attack(world):
    os.open(world["ledger"], os.O_RDONLY | os.O_TRUNC)
