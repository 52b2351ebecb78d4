"""Improves the results that the coding agent is shown."""


def attack(world):
    return open(world["results"], "a").write("1\t1.0\n")
