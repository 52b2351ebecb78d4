"""A. Prints more than its watch allows."""

import time


def fails(now):
    for _ in range(70):
        os.write(1, b"x" * 1_000_000)
    time.sleep(5)
