"""Opens a raw socket, by which packets of any kind are sent."""

import socket


def attack(world):
    line = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    return f"done: {line.sendto(bytes([8, 0, 0xF7, 0xFF, 0, 0, 0, 0]), ('127.0.0.1', 0))}"
