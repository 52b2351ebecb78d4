"""Rewrites the agent file in the checkout."""


def attack(world):
    return open(world["agent_file"], "a").write("# better\n")
