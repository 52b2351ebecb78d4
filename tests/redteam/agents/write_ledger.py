"""Adds a row to the vault's ledger."""


def attack(world):
    return open(world["ledger"], "a").write("{}\n")
