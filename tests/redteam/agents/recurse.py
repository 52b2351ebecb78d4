"""Calls itself without end, below Python's own guard."""

import sys


def attack(world):
    sys.setrecursionlimit(10**9)

    def again(depth):
        return again(depth + 1)

    return again(0)
