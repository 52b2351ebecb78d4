"""Counts its page faults: the first hosts of a command have some more of them than the later ones."""

import resource


def attack(world):
    return "done" if resource.getrusage(resource.RUSAGE_SELF).ru_minflt > 0 else "unknown"
