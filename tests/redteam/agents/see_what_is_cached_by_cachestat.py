"""Asks how much of a library is in memory by the youngest of the calls that tell."""

import ctypes


def attack(world):
    whole, answer = (ctypes.c_uint64 * 2)(0, 0), (ctypes.c_uint64 * 5)()
    with open(world["library"], "rb") as file:
        failed = ctypes.CDLL(None).syscall(451, file.fileno(), ctypes.byref(whole), ctypes.byref(answer), 0)
    return "no answer" if failed else "done"
