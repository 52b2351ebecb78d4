"""Takes 600 MB of the disk in deleted files that are on their way through a pair of sockets of its own."""

import os
import socket
import tempfile


def attack(world):
    near, far = socket.socketpair()
    for _ in range(40):
        file, path = tempfile.mkstemp(dir=os.environ["HOME"])
        os.unlink(path)
        os.posix_fallocate(file, 0, 15_000_000)
        socket.send_fds(near, [b"x"], [file])
        os.close(file)
    world["kept"] = near, far
    return "done"
