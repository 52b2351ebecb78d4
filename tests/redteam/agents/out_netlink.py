"""Asks the kernel for this machine's network interfaces."""

import socket
import struct


def attack(world):
    line = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    line.send(struct.pack("=IHHIIB3x", 20, 18, 0x301, 1, 0, 0))
    return "done" if b"lo\0" in line.recv(65536) else "nothing"
