"""Reads nothing any more, but asks and asks: anyone who wants to answer waits in vain."""

import contextvars
import json
import os
import sys
import time

from autoharness.agent_api import UserMessage, generate
from autoharness.core.channel import Channel


def attack(world):
    time.sleep(0.2)  # until the first thread waits for a message
    Channel.receive = lambda channel: time.sleep(600)
    generate([UserMessage("Hi")])  # the last answer that is delivered
    own = next(value for variable, value in contextvars.copy_context().items() if variable.name == "simulation")
    for number in range(1900):
        chat = {"chat": 10_000 + number, "simulation": own, "request": {"messages": [], "x" * 200: 1}}
        os.write(int(sys.argv[1]), json.dumps(chat).encode() + b"\n")
    return "deaf"
