"""Makes a BPF map in the kernel."""

import ctypes
import os
import struct


def attack(world):
    number = {"x86_64": 321}.get(os.uname().machine, 280)
    attributes = struct.pack("=5I52x", 2, 4, 8, 1, 0)
    return "done" if ctypes.CDLL(None).syscall(number, 0, attributes, len(attributes)) >= 0 else "nothing"
