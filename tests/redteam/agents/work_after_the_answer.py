"""Keeps every processor busy when it has answered."""

import hashlib
import threading


def attack(world):
    def work():
        while True:
            hashlib.sha256(b"x" * 1_000_000).digest()

    for _ in range(2):
        threading.Thread(target=work, daemon=True).start()
    return "at work"
