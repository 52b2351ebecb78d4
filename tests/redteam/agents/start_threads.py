"""Starts thousands of threads."""

import threading
import time


def attack(world):
    for _ in range(3000):
        threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
    time.sleep(0.5)
    return "done"
