"""Connects by a protocol that a TCP server understands and a rule for TCP does not see."""

import socket

IPPROTO_MPTCP = 262


def attack(world):
    socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP).connect(("127.0.0.1", world["mptcp"]))
