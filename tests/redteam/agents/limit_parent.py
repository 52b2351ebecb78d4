"""Limits the worker's open files."""

import os
import resource


def attack(world):
    return resource.prlimit(os.getppid(), resource.RLIMIT_FSIZE, (1 << 40, 1 << 40))
