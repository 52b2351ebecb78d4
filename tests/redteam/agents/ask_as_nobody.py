"""Asks in the name of a simulation whose name it guesses."""

import json
import os
import sys


def attack(world):
    request = {"messages": [{"role": "user", "content": "Hi"}]}
    chat = {"chat": 10_000, "simulation": os.urandom(16).hex(), "request": request}
    os.write(int(sys.argv[1]), json.dumps(chat).encode() + b"\n")
    return "asked"
