"""Ends its first thread alone, after which /proc shows none of its descriptors, and takes 600 MB of the disk."""

import contextvars
import ctypes
import os
import sys
import tempfile
import time

from autoharness.channel import Channel


def attack(world):
    def leave(channel):
        ctypes.CDLL(None).syscall({"x86_64": 60}.get(os.uname().machine, 93), 0)

    Channel.receive = leave
    own = next(value for variable, value in contextvars.copy_context().items() if variable.name == "simulation")
    ask = b'{"chat":10000,"simulation":"%s","request":{}}\n' % own.encode()
    os.write(int(sys.argv[1]), ask)  # the answer to it is the last thing that the first thread reads
    time.sleep(0.3)
    for _ in range(40):
        file, path = tempfile.mkstemp(dir=os.environ["HOME"])
        os.unlink(path)
        os.posix_fallocate(file, 0, 15_000_000)
    time.sleep(0.7)
    return "done"
