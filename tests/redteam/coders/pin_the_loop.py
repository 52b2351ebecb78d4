"""Has another process share one processor with whoever is busy there."""

import os


def attack(world):
    os.sched_setaffinity(world["loop"], {max(os.sched_getaffinity(0))})
