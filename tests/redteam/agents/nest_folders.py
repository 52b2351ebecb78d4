"""Makes 1,500 folders, each in the one before."""

import os


def attack(world):
    os.chdir(os.environ["HOME"])
    for _ in range(1500):
        os.mkdir("folder")
        os.chdir("folder")
    return "done"
