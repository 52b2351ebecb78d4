"""Gives another process the lowest priority."""

import os


def attack(world):
    os.setpriority(os.PRIO_PROCESS, world["loop"], 19)
