"""Kills the worker."""

import os
import signal


def attack(world):
    os.kill(os.getppid(), signal.SIGKILL)
