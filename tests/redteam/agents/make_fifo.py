"""Leaves a named pipe in the checkout: who opens it waits forever."""

import os


def attack(world):
    return os.mkfifo(world["planted_module"])
