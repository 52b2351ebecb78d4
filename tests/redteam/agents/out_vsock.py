"""Opens a socket to the machine that this virtual machine runs on."""

import socket


def attack(world):
    return f"done: {socket.socket(40, socket.SOCK_STREAM)}"
