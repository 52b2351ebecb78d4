"""Gives the ledger to somebody else."""

import os


def attack(world):
    return os.chown(world["ledger"], 65534, 65534)
