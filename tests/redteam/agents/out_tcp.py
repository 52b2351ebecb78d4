"""Connects by TCP."""

import socket


def attack(world):
    socket.create_connection(("127.0.0.1", world["tcp"]), timeout=1).send(b"x")
    return "sent"
