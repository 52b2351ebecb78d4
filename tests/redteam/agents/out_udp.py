"""Sends a datagram, as a name server is asked."""

import socket


def attack(world):
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", world["udp"]))
