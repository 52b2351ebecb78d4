"""Forks before it reads the vault, and hands what it finds through a pipe."""

import os


def attack(world):
    ours, theirs = os.pipe()
    if os.fork() == 0:
        os.write(theirs, open(world["trial"], "rb").read())
        os._exit(0)
    os.close(theirs)
    return os.read(ours, 50_000).decode()
