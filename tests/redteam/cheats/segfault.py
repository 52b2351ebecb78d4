"""A. Reads address 0, as a library with a bug would."""

import ctypes


def fails(now):
    ctypes.string_at(0)
