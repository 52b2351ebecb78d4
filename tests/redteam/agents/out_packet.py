"""Opens a packet socket, which hears all that this machine sends."""

import socket


def attack(world):
    line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    line.bind(("lo", 0))
    return "done"
