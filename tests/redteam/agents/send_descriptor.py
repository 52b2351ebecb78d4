"""Sends the worker an open descriptor over the channel."""

import array
import os
import socket
import sys


def attack(world):
    channel = socket.socket(fileno=os.dup(int(sys.argv[1])))
    file = os.open("/dev/zero", os.O_RDONLY)
    for _ in range(50):
        channel.sendmsg([b" "], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))])
    return "sent"
