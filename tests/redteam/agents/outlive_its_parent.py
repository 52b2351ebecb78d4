"""Takes back that it dies with the worker."""

import ctypes


def attack(world):
    return "refused" if ctypes.CDLL(None).prctl(1, 0, 0, 0, 0) else "done"
