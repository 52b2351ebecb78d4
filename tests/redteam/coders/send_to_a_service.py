"""Sends a message to a service of this machine by its path, as one does to the system's log."""

import socket


def attack(world):
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"x", world["unix_datagram"])
