"""Kills the worker by naming one of its threads."""

import ctypes
import os


def attack(world):
    return ctypes.CDLL(None).syscall(
        {"x86_64": 234}.get(os.uname().machine, 131), world["parent"], world["parent"], 9
    )
