"""Removes every file of the world that it is told of, and what lies around it."""

import os


def attack(world):
    for folder, _, names in os.walk(world["root"]):
        for name in names:
            os.unlink(f"{folder}/{name}")
    for name in ("ledger", "trial", "results", "suite", "notes"):
        try:
            os.unlink(world[name])
        except FileNotFoundError:
            continue
    return "tried"
