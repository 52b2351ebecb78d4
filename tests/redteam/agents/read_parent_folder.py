"""Reads through the worker's working folder, as /proc shows it."""

import os


def attack(world):
    return open(f"/proc/{os.getppid()}/cwd/.env").read()
