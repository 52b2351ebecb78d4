"""A. Sends the worker what is no message."""

import sys
import time


def fails(now):
    os.write(int(sys.argv[1]), b"garbage\n")
    time.sleep(5)
