"""Kills the worker by a queued signal."""

import ctypes
import os


def attack(world):
    return ctypes.CDLL(None).sigqueue(os.getppid(), 9, 0)
