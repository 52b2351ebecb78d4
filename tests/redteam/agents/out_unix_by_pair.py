"""Points one end of a pair of datagram sockets, which it may make for itself, at somebody else's."""

import socket


def attack(world):
    line, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    line.connect(world["unix_datagram"])
    return line.send(b"x")
