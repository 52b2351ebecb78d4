"""Gives the worker the lowest priority for input and output."""

import ctypes
import os


def attack(world):
    return ctypes.CDLL(None).syscall({"x86_64": 251}.get(os.uname().machine, 30), 1, world["parent"], 3 << 13)
