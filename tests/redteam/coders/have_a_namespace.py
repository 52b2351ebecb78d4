"""Becomes privileged in a namespace of its own, where more of the kernel can be asked."""

import ctypes

CLONE_NEWUSER = 0x10000000


def attack(world):
    return "refused" if ctypes.CDLL(None).unshare(CLONE_NEWUSER) else "done"
