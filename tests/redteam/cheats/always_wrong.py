"""The baseline: never right, so that every other agent is accepted and has a score."""


def is_wrong(now):
    return True
