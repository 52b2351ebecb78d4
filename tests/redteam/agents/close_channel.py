"""Closes the channel."""

import os
import sys


def attack(world):
    os.close(int(sys.argv[1]))
    return "closed"
