"""Looks whether it has any privilege of an administrator."""

import ctypes


def attack(world):
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    ctypes.CDLL(None).capget(ctypes.byref(header), ctypes.byref(sets))
    return "done" if any(sets) else "nothing"
