"""Kills the worker by a queued signal."""

import ctypes


def attack(world):
    return ctypes.CDLL(None).sigqueue(world["parent"], 9, 0)
