"""Leaves a POSIX message queue behind, which outlives every process."""

import ctypes
import os


def attack(world):
    numbers = {"x86_64": (240, 241)}.get(os.uname().machine, (180, 181))
    library, name = ctypes.CDLL(None), b"redteam-" + world["token"].encode()
    queue = library.syscall(numbers[0], name, os.O_RDWR | os.O_CREAT, 0o600, None)
    library.syscall(numbers[1], name)
    return "done" if queue >= 0 else "nothing"
