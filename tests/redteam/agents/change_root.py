"""Changes its root folder."""

import os


def attack(world):
    os.chroot(world["checkout"])
    return "done" if os.path.exists("/workspace/results.tsv") else "nothing"
