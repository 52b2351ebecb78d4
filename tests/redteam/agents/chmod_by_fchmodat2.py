"""Lets everybody write the ledger, by the newest of the calls for it."""

import ctypes


def attack(world):
    return ctypes.CDLL(None).syscall(452, -100, world["ledger"].encode(), 0o666, 0)
