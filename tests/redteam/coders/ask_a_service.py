"""Connects to a server on this machine."""

import socket


def attack(world):
    socket.create_connection(("127.0.0.1", world["tcp"]), timeout=5)
