"""Opens a trial with O_PATH, which needs no right, and opens that descriptor again."""

import os


def attack(world):
    place = os.open(world["trial"], os.O_PATH)
    return open(f"/proc/self/fd/{place}").read()
