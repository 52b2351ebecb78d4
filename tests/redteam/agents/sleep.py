"""Never answers."""

import time


def attack(world):
    time.sleep(3600)
