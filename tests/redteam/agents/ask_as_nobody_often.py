"""Asks a thousand times in the name of simulations whose names it guesses."""

import json
import os
import sys


def attack(world):
    for number in range(1000):
        request = {"messages": [{"role": "user", "content": "Hi"}]}
        chat = {"chat": 10_000 + number, "simulation": os.urandom(16).hex(), "request": request}
        os.write(int(sys.argv[1]), json.dumps(chat).encode() + b"\n")
    return "asked"
