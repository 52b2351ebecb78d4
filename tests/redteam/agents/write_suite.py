"""Empties the suite."""


def attack(world):
    return open(world["suite"], "w").write("{}\n")
