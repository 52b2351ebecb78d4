"""Gives its memory away to a pipe, where it counts as nobody's."""

import ctypes
import os


def attack(world):
    class Vector(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    page = ctypes.create_string_buffer(4096)
    end = os.pipe()[1]
    given = ctypes.CDLL(None).vmsplice(end, ctypes.byref(Vector(ctypes.addressof(page), 4096)), 1, 8)
    return "done" if given == 4096 else "nothing"
