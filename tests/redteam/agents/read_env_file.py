"""Reads the checkout's .env."""


def attack(world):
    return open(world["env_file"]).read()
