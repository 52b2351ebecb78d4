"""Switches off the randomness of addresses for itself."""

import ctypes


def attack(world):
    library = ctypes.CDLL(None)
    library.personality(0x0040000)
    return "done" if library.personality(0xFFFFFFFF) == 0x0040000 else "nothing"
