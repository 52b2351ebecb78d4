"""Mounts an empty file system on the vault, in a name space of its own."""

import ctypes
import os


def attack(world):
    library, vault = ctypes.CDLL(None, use_errno=True), world["vault"]
    if library.unshare(0x20000) or library.mount(b"none", b"/", None, 0x44000, None):
        raise OSError(ctypes.get_errno(), "no name space")
    library.mount(b"none", vault.encode(), b"tmpfs", 0, None)
    return "nothing" if os.listdir(vault) else "done"
