"""Reads address 0."""

import ctypes


def attack(world):
    ctypes.string_at(0)
