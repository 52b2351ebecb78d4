"""Has a timer end itself: what signal it sends lies behind a pointer."""

import ctypes
import os
import struct
import time


def attack(world):
    library, timer = ctypes.CDLL(None), ctypes.c_int()
    create, start = {"x86_64": (222, 223)}.get(os.uname().machine, (107, 110))
    event = ctypes.create_string_buffer(struct.pack("qii48x", 0, 9, 0), 64)
    if library.syscall(create, 1, event, ctypes.byref(timer)):
        return "no timer"
    library.syscall(start, timer, 0, struct.pack("qqqq", 0, 0, 0, 1_000_000), 0)
    return time.sleep(1)
