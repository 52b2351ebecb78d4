"""Locks the ledger, so that anyone who wants to write to it waits."""

import fcntl
import os


def attack(world):
    fcntl.flock(os.open(world["ledger"], os.O_RDONLY), fcntl.LOCK_EX)
    return "kept"
