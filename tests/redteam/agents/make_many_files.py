"""Makes 11,000 files."""

import os


def attack(world):
    for number in range(11_000):
        os.close(os.open(f"{os.environ['HOME']}/{number}", os.O_CREAT | os.O_WRONLY))
    return "done"
