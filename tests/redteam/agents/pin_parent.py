"""Pins the worker to one processor."""

import os


def attack(world):
    return os.sched_setaffinity(os.getppid(), {max(os.sched_getaffinity(0))})
