"""A. Overflows its stack in C code, where Python does not count."""

import sys


def fails(now):
    sys.setrecursionlimit(10**9)
    nested = []
    for _ in range(10**5):
        nested = [nested]
    repr(nested)
