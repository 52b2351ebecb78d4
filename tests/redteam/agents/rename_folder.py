"""Exchanges two folders of the vault by renameat2."""

import ctypes


def attack(world):
    vault = world["vault"].encode()
    return ctypes.CDLL(None).renameat2(-100, vault + b"/trials", -100, vault + b"/runs", 2)
