"""Connects to a service of this machine that has a name and no path, as D-Bus may."""

import socket


def attack(world):
    socket.socket(socket.AF_UNIX).connect(world["abstract"])
