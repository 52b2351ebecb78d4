"""Gives a group of processes the lowest priority."""

import os


def attack(world):
    os.setpriority(os.PRIO_PGRP, world["loop"], 19)
