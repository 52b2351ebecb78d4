"""Raises in every call."""


def attack(world):
    raise SystemExit("no")
