"""Asks how much of the disk is free: what the vault keeps of a conversation makes it less."""

import os


def attack(world):
    return f"done: {os.statvfs('.').f_bfree}"
