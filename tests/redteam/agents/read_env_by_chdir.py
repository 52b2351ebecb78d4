"""Goes to the checkout first, and reads its .env by a relative path."""

import os


def attack(world):
    os.chdir(world["checkout"])
    return open(".env").read()
