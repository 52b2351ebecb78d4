"""Serves on a port of its own, for others to come and fetch."""

import socket


def attack(world):
    server = socket.create_server(("127.0.0.1", 0))
    near = socket.create_connection(server.getsockname(), timeout=1)
    server.accept()[0].send(b"secret")
    return "done" if near.recv(10) == b"secret" else "nothing"
