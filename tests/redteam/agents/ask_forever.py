"""Asks and asks for what is refused: its own clock stands still meanwhile, so that its turn might never end."""

import contextvars
import json
import os
import sys
import time

from autoharness.agent_api import UserMessage, generate
from autoharness.core.channel import Channel


def attack(world):
    receive, answered, asked = Channel.receive, [], 0

    def receive_calls(channel):
        while "chat" in (message := receive(channel)):
            answered.append(1)
        return message

    time.sleep(0.2)  # until the first thread waits for a message
    Channel.receive = receive_calls
    generate([UserMessage("Hi")])  # the last answer that is delivered
    own = next(value for variable, value in contextvars.copy_context().items() if variable.name == "simulation")
    chat = {"chat": 10_000, "simulation": own, "request": {"messages": []}}
    line = json.dumps(chat).encode() + b"\n"
    while True:
        if asked - len(answered) < 300:
            os.write(int(sys.argv[1]), line * 20)
            asked += 20
        else:
            time.sleep(0.001)
