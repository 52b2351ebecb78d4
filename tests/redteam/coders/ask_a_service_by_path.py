"""Connects to a service of this machine by its path, as one does to docker."""

import socket


def attack(world):
    socket.socket(socket.AF_UNIX).connect(world["unix_stream"])
