"""Sends a datagram to a socket that is a file, as the system's log is."""

import socket


def attack(world):
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"x", world["unix_datagram"])
