"""Has the kernel kill the worker first where memory runs out."""


def attack(world):
    return open(f"/proc/{world['parent']}/oom_score_adj", "w").write("900")
