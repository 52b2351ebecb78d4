"""Has another process share one processor with the process that is busy there."""

import os


def attack(world):
    os.sched_setaffinity(world["loop"], {max(os.sched_getaffinity(0))})
