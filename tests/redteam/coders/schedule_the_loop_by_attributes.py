"""The same by the younger call."""

import ctypes
import os
import struct

SCHED_BATCH = 3


def attack(world):
    attributes = struct.pack("IIQiIQQQ", 48, SCHED_BATCH, 0, 10, 0, 0, 0, 0)
    number = {"x86_64": 314}.get(os.uname().machine, 274)
    ctypes.CDLL(None).syscall(number, world["loop"], attributes, 0)
