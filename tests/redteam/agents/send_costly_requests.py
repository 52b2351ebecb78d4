"""Sends requests that are short as text and huge as objects, many at once, to use up the worker's memory."""

import contextlib
import contextvars
import os
import sys
import time

from autoharness.agent_api import LLMError, UserMessage, generate
from autoharness.core.channel import Channel


def attack(world):
    time.sleep(0.2)  # until the first thread waits for a message
    Channel.receive = lambda channel: time.sleep(600)
    with contextlib.suppress(LLMError):
        generate([UserMessage("Hi")], model="another")  # refused at once: the last answer that is delivered
    own = next(value for variable, value in contextvars.copy_context().items() if variable.name == "simulation")
    head = b'"simulation":"%s","request":{"messages":[{"role":"user","content":"Hi"}],"stop":[' % own.encode()
    for number in range(8):
        line = b'{"chat":%d,' % (10_000 + number) + head + b"[]," * 2_500_000 + b'"x"]}}\n'
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(int(sys.argv[1]), rest) :]
    return "sent"
