"""A. Asks for completions in the name of simulations that do not exist, until it is ended for it."""

import json
import sys
import time


def fails(now):
    for number in range(1000):
        chat = {"chat": 10_000 + number, "simulation": os.urandom(16).hex(), "request": {"messages": []}}
        os.write(int(sys.argv[1]), json.dumps(chat).encode() + b"\n")
    time.sleep(5)
