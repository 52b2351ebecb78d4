"""Leaves a file in /dev/shm, for another process to find."""


def attack(world):
    return open(world["in_shared_memory"], "w").write("canary")
