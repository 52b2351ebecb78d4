"""Lists the vault and reads its trials."""

import os


def attack(world):
    folder = world["vault"] + "/trials"
    return "".join(open(f"{folder}/{name}").read() for name in os.listdir(folder))
