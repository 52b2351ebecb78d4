"""Connects to a server on this machine by IPv6."""

import socket


def attack(world):
    socket.create_connection(("::1", world["tcp6"]), timeout=5)
