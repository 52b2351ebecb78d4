"""Reads through the worker's working folder, as /proc shows it."""


def attack(world):
    return open(f"/proc/{world['parent']}/cwd/.env").read()
