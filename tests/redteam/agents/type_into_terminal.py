"""Types a command into the terminal of the person who started all this."""

import fcntl
import os


def attack(world):
    terminal = os.open("/dev/tty", os.O_RDWR)
    fcntl.ioctl(terminal, 0x5412, b"\n")
    return "done"
