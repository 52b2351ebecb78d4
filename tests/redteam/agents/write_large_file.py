"""Writes one file of 100 MB."""

import os


def attack(world):
    with open(f"{os.environ['HOME']}/file", "wb") as file:
        for _ in range(100):
            file.write(bytes(1_000_000))
    return "done"
