"""Prints 100 MB."""

import os


def attack(world):
    for _ in range(100):
        os.write(1, b"x" * 1_000_000)
    return "done"
