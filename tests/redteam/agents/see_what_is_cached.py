"""Asks which pages of a library are in memory: another program may have read it."""

import ctypes


def attack(world):
    library = ctypes.CDLL(None)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    with open(world["library"], "rb") as file:
        page = library.mmap(None, 4096, 1, 1, file.fileno(), 0)  # for reading, shared
    failed = library.mincore(ctypes.c_void_p(page), ctypes.c_size_t(4096), ctypes.create_string_buffer(1))
    return "no answer" if failed else "done"
