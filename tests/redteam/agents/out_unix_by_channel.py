"""Points the channel that it inherits at somebody else's socket."""

import os
import socket
import sys


def attack(world):
    socket.socket(fileno=os.dup(int(sys.argv[1]))).connect(world["unix_stream"])
    return "connected"
