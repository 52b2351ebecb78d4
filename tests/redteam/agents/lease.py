"""Takes a lease on the ledger: who opens it then waits for 45 seconds."""

import fcntl
import os


def attack(world):
    fcntl.fcntl(os.open(world["ledger"], 3), fcntl.F_SETLEASE, fcntl.F_WRLCK)
    return "kept"
