"""Has the kernel drop a library from memory, which others see when they read it."""

import os


def attack(world):
    with open(world["library"], "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return "dropped"
