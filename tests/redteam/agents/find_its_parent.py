"""Learns the number of the process that it comes from: how far its own is above that tells its place in the run."""

import os


def attack(world):
    return "done" if os.getppid() > 0 else "unknown"
