"""Reads how much processor time the worker has used: its number makes a clock."""

import time


def attack(world):
    return f"done: {time.clock_gettime(~world['parent'] << 3 | 2)}"
