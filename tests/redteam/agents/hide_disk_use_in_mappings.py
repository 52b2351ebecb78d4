"""Takes 600 MB of the disk in deleted files of which it maps a page each, and closes them."""

import ctypes
import os
import tempfile


def attack(world):
    map_file = ctypes.CDLL(None).mmap
    map_file.restype = ctypes.c_void_p
    for _ in range(40):
        file, path = tempfile.mkstemp(dir=os.environ["HOME"])
        os.unlink(path)
        os.posix_fallocate(file, 0, 15_000_000)
        map_file(None, ctypes.c_size_t(4096), 1, 2, file, ctypes.c_long(0))
        os.close(file)
    return "done"
