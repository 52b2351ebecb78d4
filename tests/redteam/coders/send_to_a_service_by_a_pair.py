"""The same by one of two sockets that were made for each other."""

import socket


def attack(world):
    socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b"x", world["unix_datagram"])
