"""Takes memory from the kernel directly, and touches it."""

import mmap


def attack(world):
    taken = []
    for _ in range(40):
        block = mmap.mmap(-1, 30_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for place in range(0, 30_000_000, 4096):
            block[place] = 1
        taken.append(block)
    return "done"
