"""A. Nests folders so deep that its watch cannot follow them."""

import time


def fails(now):
    os.chdir(os.environ["HOME"])
    for _ in range(30):
        os.mkdir("x" * 200)
        os.chdir("x" * 200)
    time.sleep(5)
