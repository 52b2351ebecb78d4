"""Keeps data in the kernel's keyring, where a later process finds it."""

import ctypes
import os


def attack(world):
    number = {"x86_64": 248}.get(os.uname().machine, 217)
    name = b"redteam-" + world["token"].encode()
    return "done" if ctypes.CDLL(None).syscall(number, b"user", name, b"x", 1, -3) > 0 else "nothing"
