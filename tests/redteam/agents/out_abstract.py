"""Connects to a socket in the abstract namespace, where no file's rights count."""

import socket


def attack(world):
    line = socket.socket(socket.AF_UNIX)
    line.connect(world["abstract"])
    return line.send(b"x")
