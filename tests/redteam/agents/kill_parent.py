"""Kills the worker."""

import os
import signal


def attack(world):
    os.kill(world["parent"], signal.SIGKILL)
