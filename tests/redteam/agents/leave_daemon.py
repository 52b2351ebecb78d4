"""Leaves a process behind that writes a file when the host is long gone."""

import os
import time


def attack(world):
    if os.fork() == 0:
        os.setsid()
        time.sleep(1)
        open(world["late"], "w").write("still here")
        os._exit(0)
    time.sleep(0.3)
    return "left"
