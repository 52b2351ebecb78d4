"""Locks a library by the younger kind of lock."""

import fcntl
import os
import struct

F_OFD_SETLK = 37


def attack(world):
    fcntl.fcntl(
        os.open(world["library"], os.O_RDONLY), F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 0, 0, 0)
    )
    return "locked"
