"""Has another process use the disk only when nobody else does."""

import ctypes
import os


def attack(world):
    ctypes.CDLL(None).syscall({"x86_64": 251}.get(os.uname().machine, 30), 1, world["loop"], 3 << 13)
