"""Gives the worker the lowest priority."""

import os


def attack(world):
    return os.setpriority(os.PRIO_PROCESS, world["parent"], 19)
