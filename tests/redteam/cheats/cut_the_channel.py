"""A. Closes its end of the channel for writing, and lives on."""

import socket
import sys
import time


def fails(now):
    socket.socket(fileno=int(sys.argv[1])).shutdown(socket.SHUT_WR)
    time.sleep(8)
