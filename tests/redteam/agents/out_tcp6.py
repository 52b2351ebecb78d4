"""Connects by TCP over IPv6."""

import socket


def attack(world):
    socket.create_connection(("::1", world["tcp6"]), timeout=1).send(b"x")
    return "sent"
