"""Limits the worker's open files."""

import resource


def attack(world):
    return resource.prlimit(world["parent"], resource.RLIMIT_FSIZE, (1 << 40, 1 << 40))
