"""Leaves one bit at each library, in every way that is open to an agent host."""

import ctypes
import mmap
import os

MADV_PAGEOUT = 21
CACHED = ("cached", "mapped", "timed")


def attack(world):
    for place, bit in enumerate(world["bits"]):
        base = f"{world['folder']}/{place}"
        for leave in ONE if bit else ZERO:
            try:
                leave(base)
            except OSError:
                continue
    return "left"


def read(base):
    for kind in ("read", *CACHED):
        open(f"{base}.{kind}", "rb").read()


def follow(base):
    os.stat(f"{base}.link")


def list_folder(base):
    os.listdir(f"{base}.folder")


def look_up(base):
    os.stat(f"{base}.nothing")


def fetch(base):
    for kind in CACHED:
        with open(f"{base}.{kind}", "rb") as file:
            ctypes.CDLL(None).readahead(file.fileno(), ctypes.c_int64(0), ctypes.c_size_t(1 << 20))


def drop(base):
    for kind in CACHED:
        with open(f"{base}.{kind}", "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def drop_by_mapping(base):
    for kind in CACHED:
        with open(f"{base}.{kind}", "rb") as file:
            pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
        pages.read()
        pages.madvise(MADV_PAGEOUT)


ONE = (read, follow, list_folder, fetch, look_up)
ZERO = (drop, drop_by_mapping)
