"""Makes a system call by x86-64's second set of numbers."""

import ctypes
import os


def attack(world):
    return "done" if ctypes.CDLL(None).syscall(0x40000000 + 39) == os.getpid() else "nothing"
