"""Ends itself as the kernel does where memory runs out."""

import os
import signal


def attack(world):
    os.kill(os.getpid(), signal.SIGKILL)
