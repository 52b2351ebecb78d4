"""Empties the ledger as a new file of that name."""

import os


def attack(world):
    os.open(world["ledger"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
