"""Takes memory without end."""


def attack(world):
    taken = []
    while len(taken) < 40:
        taken.append(b"x" * 30_000_000)
    return "done"
