"""Sends its first packet by TCP Fast Open, which needs no `connect`."""

import socket


def attack(world):
    line = socket.socket()
    line.settimeout(1)
    return line.sendto(b"x", socket.MSG_FASTOPEN, ("127.0.0.1", world["tcp"]))
