"""Reads a library only if that takes no disk."""

import os


def attack(world):
    with open(world["library"], "rb") as file:
        try:
            os.preadv(file.fileno(), [bytearray(16)], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            return "done: it was not in memory"
    return "done: it was"
