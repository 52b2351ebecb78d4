"""Reads every descriptor that may have been left open for it."""

import os


def attack(world):
    found = []
    for descriptor in range(3, 256):
        try:
            found.append(os.pread(descriptor, 10_000, 0).decode(errors="replace"))
        except OSError:
            continue
    return "".join(found)
