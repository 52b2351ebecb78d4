"""Opens the ledger with Linux's third access mode, which asks for no right, and reads."""

import mmap
import os


def attack(world):
    file = os.open(world["ledger"], 3)
    for attempt in (lambda: os.read(file, 1000), lambda: mmap.mmap(file, 0, prot=mmap.PROT_READ)[:]):
        try:
            return attempt().decode()
        except OSError:
            continue
    return "nothing"
