"""Answers calls that were never made."""

import os
import sys


def attack(world):
    for number in (2, 3, 500, -1):
        os.write(int(sys.argv[1]), b'{"id":%d,"result":{"content":"x","tool_calls":[]}}\n' % number)
    return "answered"
