"""Has another process run only when nobody else wants to."""

import os


def attack(world):
    os.sched_setscheduler(world["loop"], os.SCHED_IDLE, os.sched_param(0))
