"""A. Does not answer any more: its turn takes too long."""

import time


def fails(now):
    time.sleep(60)
