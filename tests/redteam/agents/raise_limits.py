"""Raises its own limits."""

import resource


def attack(world):
    more = resource.getrlimit(resource.RLIMIT_NOFILE)[1] + 100
    resource.setrlimit(resource.RLIMIT_NOFILE, (more, more))
    return "done"
