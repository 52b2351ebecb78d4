"""Becomes another user."""

import os


def attack(world):
    os.setresuid(65534, 65534, 65534)
    return "done" if os.getuid() == 65534 else "nothing"
