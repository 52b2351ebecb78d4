"""Leaves System V shared memory behind, which outlives every process."""

import ctypes


def attack(world):
    return ctypes.CDLL(None).shmget(world["key"], 4096, 0o1600)
