"""Ends itself by a signal to one of its threads."""

import ctypes
import os
import threading


def attack(world):
    number = {"x86_64": 234}.get(os.uname().machine, 131)
    return ctypes.CDLL(None).syscall(number, os.getpid(), threading.get_native_id(), 9)
