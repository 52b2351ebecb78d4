"""Writes 600 MB into its scratch folder."""

import os


def attack(world):
    for number in range(40):
        with open(f"{os.environ['HOME']}/{number}", "wb") as file:
            file.write(bytes(15_000_000))
    return "done"
