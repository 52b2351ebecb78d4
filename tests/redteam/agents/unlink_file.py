"""Removes the ledger."""

import os


def attack(world):
    return os.unlink(world["ledger"])
