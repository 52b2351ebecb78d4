"""Has the kernel kill the worker first where memory runs out."""

import os


def attack(world):
    return open(f"/proc/{os.getppid()}/oom_score_adj", "w").write("900")
