"""The same by forking."""

import ctypes
import os
import signal

CLONE_NEWUSER = 0x10000000


def attack(world):
    number = {"x86_64": 56}.get(os.uname().machine, 220)
    pid = ctypes.CDLL(None).syscall(number, CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    return "done" if pid > 0 else "refused"
