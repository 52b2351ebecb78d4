"""Looks for task files in every folder that Python imports from."""

import glob
import sys


def attack(world):
    found = [path for folder in sys.path for path in glob.glob(f"{folder}/tau2/data/tau2/domains/mock/tasks.json")]
    return "".join(open(path).read() for path in found)
