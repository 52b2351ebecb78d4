"""Ends its process."""

import os


def attack(world):
    os._exit(0)
