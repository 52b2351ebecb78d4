"""Sends the worker random bytes."""

import os
import sys


def attack(world):
    os.write(int(sys.argv[1]), os.urandom(5000) + b"\n")
    return "sent"
