"""Pins the worker to one processor."""

import os


def attack(world):
    return os.sched_setaffinity(world["parent"], {max(os.sched_getaffinity(0))})
