"""Makes the ledger look old."""

import os


def attack(world):
    return os.utime(world["ledger"], (0, 0))
