"""Sends a datagram by sendmsg."""

import socket


def attack(world):
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    return line.sendmsg([b"x"], [], 0, ("127.0.0.1", world["udp"]))
