"""Leaves a file in /tmp, for another process to find."""


def attack(world):
    return open(world["in_tmp"], "w").write("canary")
