"""Stops itself, so that no thread of it reads or answers."""

import os
import signal


def attack(world):
    os.kill(os.getpid(), signal.SIGSTOP)
