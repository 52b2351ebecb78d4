"""Leaves a folder that its owner may not enter, so that it cannot be removed."""

import os


def attack(world):
    os.makedirs(os.environ["HOME"] + "/closed/inner")
    os.mkdir(os.environ["HOME"] + "/closed2", mode=0)
    old = os.umask(0o777)
    os.mkdir(os.environ["HOME"] + "/closed/inner/most")
    os.umask(old)
    return "left"
