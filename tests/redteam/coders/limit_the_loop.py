"""Lets another process write no file any more: the kernel kills it at the next one."""

import resource


def attack(world):
    resource.prlimit(world["loop"], resource.RLIMIT_FSIZE, (0, 0))
