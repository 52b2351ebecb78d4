"""Stops the worker."""

import os
import signal


def attack(world):
    os.kill(world["parent"], signal.SIGSTOP)
