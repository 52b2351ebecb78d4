"""Keeps data in the kernel's keyring, where a later process finds it."""

import ctypes
import os


def attack(world):
    add, control = {"x86_64": (248, 250)}.get(os.uname().machine, (217, 219))
    name = b"redteam-" + world["token"].encode()
    key = ctypes.CDLL(None).syscall(add, b"user", name, b"x", 1, -3)
    ctypes.CDLL(None).syscall(control, 3, key)  # revoke it: nothing is to stay on this machine
    return "done" if key > 0 else "nothing"
