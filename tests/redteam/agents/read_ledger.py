"""Reads the vault's ledger."""


def attack(world):
    return open(world["ledger"]).read()
