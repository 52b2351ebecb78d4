"""Kills the worker through a descriptor of it."""

import os
import signal


def attack(world):
    signal.pidfd_send_signal(os.pidfd_open(world["parent"]), signal.SIGKILL)
