"""Locks a library for reading by fcntl: a descriptor for reading is enough."""

import fcntl
import os


def attack(world):
    fcntl.lockf(os.open(world["library"], os.O_RDONLY), fcntl.LOCK_SH)
    return "locked"
