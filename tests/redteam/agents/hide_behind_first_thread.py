"""Ends its first thread alone, after which /proc shows none of its descriptors, and takes 600 MB of the disk."""

import ctypes
import os
import tempfile
import threading
import time

from autoharness.agent_api import UserMessage, generate
from autoharness.core.channel import Channel


def attack(world):
    def leave(channel):
        ctypes.CDLL(None).syscall({"x86_64": 60}.get(os.uname().machine, 93), 0)

    threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
    time.sleep(0.2)  # until the first thread waits for a message
    Channel.receive = leave
    generate([UserMessage("Hi")])  # the answer is the last thing that the first thread reads
    time.sleep(0.3)
    for _ in range(40):
        file, path = tempfile.mkstemp(dir=os.environ["HOME"])
        os.unlink(path)
        os.posix_fallocate(file, 0, 15_000_000)
    time.sleep(1)
    return "done"
