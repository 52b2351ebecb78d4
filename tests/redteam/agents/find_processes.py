"""Finds out by what the kernel answers whether a process is there."""

import os


def attack(world):
    parent = world["parent"]
    ways = {
        "group": lambda: os.getpgid(parent),
        "session": lambda: os.getsid(parent),
        "priority": lambda: os.getpriority(os.PRIO_PROCESS, parent),
        "affinity": lambda: os.sched_getaffinity(parent),
        "scheduler": lambda: os.sched_getscheduler(parent),
        "parameters": lambda: os.sched_getparam(parent),
        "turn": lambda: os.sched_rr_get_interval(parent),
        "signal": lambda: os.kill(parent, 0),
    }
    found = []
    for name, ask in ways.items():
        try:
            ask()
            found.append(name)
        except OSError:
            continue
    return f"done: {found}" if found else "none"
