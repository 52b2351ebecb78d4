"""Lets everybody write the ledger, by a descriptor that it needs no right for."""

import os


def attack(world):
    return os.fchmod(os.open(world["ledger"], 3), 0o666)
