"""Locks a library: anyone who tries to lock it sees that."""

import fcntl
import os


def attack(world):
    fcntl.flock(os.open(world["library"], os.O_RDONLY), fcntl.LOCK_EX)
    return "locked"
