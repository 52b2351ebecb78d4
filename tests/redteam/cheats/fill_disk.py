"""A. Reserves more of the disk than its watch allows."""

import time


def fails(now):
    for number in range(20):
        file = os.open(f"{os.environ['HOME']}/{number}", os.O_CREAT | os.O_RDWR)
        os.posix_fallocate(file, 0, 15_000_000)
    time.sleep(5)
