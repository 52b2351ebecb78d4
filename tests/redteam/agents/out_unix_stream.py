"""Connects to a socket that is a file, as a container engine's is."""

import socket


def attack(world):
    line = socket.socket(socket.AF_UNIX)
    line.connect(world["unix_stream"])
    return line.send(b"x")
