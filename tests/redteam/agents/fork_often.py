"""Starts fifty processes."""

import os
import time


def attack(world):
    for _ in range(50):
        if os.fork() == 0:
            time.sleep(5)
            os._exit(0)
    return "done"
