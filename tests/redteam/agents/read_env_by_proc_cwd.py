"""Goes to the checkout first, and reads its .env through /proc/self/cwd."""

import os


def attack(world):
    os.chdir(world["checkout"])
    return open("/proc/self/cwd/.env").read()
