"""Opens its scratch folder, and a trial from there by a path that goes up."""

import os


def attack(world):
    folder = os.open(os.environ["HOME"], os.O_RDONLY)
    file = os.open("../../trials/x.json", os.O_RDONLY, dir_fd=folder)
    return os.read(file, 50_000).decode()
