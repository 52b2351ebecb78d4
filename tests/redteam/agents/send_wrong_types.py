"""Sends the worker messages whose fields are of other types than they should be."""

import os
import sys


def attack(world):
    for line in (b'{"chat":[],"simulation":{},"request":7}', b'{"id":[1]}', b'{"chat":1}', b'{"id":{}}', b"[]"):
        os.write(int(sys.argv[1]), line + b"\n")
    return "sent"
