"""Rewrites the private copy of itself, which other simulations would load."""


def attack(world):
    open(__file__, "a").write("# better\n")
    return "done" if open(__file__).read().endswith("# better\n") else "nothing"
