"""Renames the agent file in the checkout."""

import os


def attack(world):
    return os.rename(world["agent_file"], world["agent_file"] + ".old")
