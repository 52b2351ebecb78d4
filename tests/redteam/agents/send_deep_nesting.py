"""Sends the worker a message that is nested a million times."""

import os
import sys


def attack(world):
    rest = memoryview(b'{"id":1,"result":' + b"[" * 1_000_000 + b"\n")
    while rest:
        rest = rest[os.write(int(sys.argv[1]), rest) :]
    return "sent"
