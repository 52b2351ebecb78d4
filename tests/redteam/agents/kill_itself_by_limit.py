"""Sets a limit of its own on processor time, and goes over it."""

import resource
import time


def attack(world):
    resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
    while time.process_time() < 2:
        pass
