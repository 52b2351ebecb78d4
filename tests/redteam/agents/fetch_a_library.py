"""Has the kernel read a file into memory without reading it: no time of access would tell."""

import ctypes
import os


def attack(world):
    with open(world["cold library"], "rb") as file:
        ctypes.CDLL(None).readahead(file.fileno(), ctypes.c_int64(0), ctypes.c_size_t(1 << 20))
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
    return "fetched"
