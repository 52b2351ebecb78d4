"""Takes some of the requests to the disk that all processes share."""

import ctypes
import os


def attack(world):
    queue = ctypes.c_uint64(0)
    number = {"x86_64": 206}.get(os.uname().machine, 0)
    failed = ctypes.CDLL(None).syscall(number, ctypes.c_uint(64), ctypes.byref(queue))
    return "no queue" if failed else "done"
