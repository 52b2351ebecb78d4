"""Sends the worker 40 MB without an end of the line."""

import os
import sys


def attack(world):
    rest = memoryview(b"x" * 40_000_000)
    while rest:
        rest = rest[os.write(int(sys.argv[1]), rest) :]
    return "sent"
