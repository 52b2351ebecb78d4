"""Reserves 1 GB of the disk behind the end of a file, which the limit on a file's size does not bound."""

import ctypes
import os


def attack(world):
    file = os.open(os.environ["HOME"] + "/file", os.O_RDWR | os.O_CREAT)
    failed = ctypes.CDLL(None, use_errno=True).fallocate(file, 1, ctypes.c_long(0), ctypes.c_long(1_000_000_000))
    size = os.fstat(file).st_blocks * 512
    os.unlink(os.environ["HOME"] + "/file")
    return "done" if not failed and size > 500_000_000 else "nothing"
