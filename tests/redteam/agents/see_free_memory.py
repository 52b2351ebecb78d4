"""Asks how much memory of the machine is free, and how busy it is."""

import ctypes


def attack(world):
    return "no answer" if ctypes.CDLL(None).sysinfo(ctypes.create_string_buffer(512)) else "done"
