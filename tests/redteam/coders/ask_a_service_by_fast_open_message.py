"""Connects by sending a message: TCP Fast Open."""

import socket

MSG_FASTOPEN = 0x20000000


def attack(world):
    socket.socket().sendmsg([b"x"], [], MSG_FASTOPEN, ("127.0.0.1", world["tcp"]))
