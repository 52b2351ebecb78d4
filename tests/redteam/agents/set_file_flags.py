"""Sets a flag of the ledger's that no right to write is needed for (FS_IOC_SETFLAGS)."""

import fcntl
import os


def attack(world):
    return fcntl.ioctl(os.open(world["ledger"], 3), 0x40086602, (0x40 | 0x80).to_bytes(8, "little"))
