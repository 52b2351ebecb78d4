"""Leaves a module in the checkout that Python imports by itself."""


def attack(world):
    return open(world["planted_module"], "w").write("# canary\n")
