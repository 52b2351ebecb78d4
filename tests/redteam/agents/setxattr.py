"""Hangs an attribute on the ledger."""

import os


def attack(world):
    return os.setxattr(world["ledger"], "user.canary", b"1")
