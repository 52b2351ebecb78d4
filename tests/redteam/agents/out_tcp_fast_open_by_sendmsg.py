"""Sends its first packet by TCP Fast Open with sendmsg."""

import socket


def attack(world):
    line = socket.socket()
    line.settimeout(1)
    return line.sendmsg([b"x"], [], socket.MSG_FASTOPEN, ("127.0.0.1", world["tcp"]))
