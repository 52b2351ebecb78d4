"""Connects when the first byte is sent."""

import socket

TCP_FASTOPEN_CONNECT = 30


def attack(world):
    one = socket.socket()
    one.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    one.connect(("127.0.0.1", world["tcp"]))
    one.send(b"x")
