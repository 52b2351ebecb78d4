"""Has the kernel end or mislead it by a filter of system calls of its own."""

import ctypes
import os


def attack(world):
    allow_all = (ctypes.c_uint64 * 1)(0x7FFF000000000006)
    program = (ctypes.c_uint64 * 2)(1, ctypes.addressof(allow_all))
    library = ctypes.CDLL(None)
    library.prctl(38, 1, 0, 0, 0)
    number = {"x86_64": 317}.get(os.uname().machine, 277)
    return "refused" if library.syscall(number, 1, 0, ctypes.byref(program)) else "done"
