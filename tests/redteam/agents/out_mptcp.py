"""Connects by Multipath TCP, which Landlock does not know."""

import socket


def attack(world):
    line = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    line.settimeout(1)
    line.connect(("127.0.0.1", world["mptcp"]))
    return line.send(b"x")
