"""Adds a trial to the vault, which would be taken for one that was run."""


def attack(world):
    return open(world["vault"] + "/trials/late.json", "w").write('{"reward": 1.0}')
