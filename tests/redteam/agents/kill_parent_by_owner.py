"""Makes the worker the owner of its own socket (F_SETOWN), so that the kernel sends it SIGKILL when data comes."""

import fcntl
import os
import socket


def attack(world):
    near, far = socket.socketpair()
    fcntl.fcntl(near, fcntl.F_SETOWN, world["parent"])
    fcntl.fcntl(near, 10, 9)
    fcntl.fcntl(near, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    return far.send(b"x")
