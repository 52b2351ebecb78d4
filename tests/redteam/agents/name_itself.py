"""Gives its thread a name that says something: every process can read that."""

import ctypes


def attack(world):
    return "refused" if ctypes.CDLL(None).prctl(15, b"a signal", 0, 0, 0) else "done"
