"""Lets everybody write the ledger."""

import os


def attack(world):
    return os.chmod(world["ledger"], 0o666)
