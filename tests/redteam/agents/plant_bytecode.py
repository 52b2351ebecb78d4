"""Leaves compiled code in our package's folder."""


def attack(world):
    return open(world["planted_bytecode"], "wb").write(b"canary")
