"""A. Says what the benchmark's own code cannot read, so that it raises."""

NOTICES_AT = 1


def fails(now):
    return say("I would rather not.")
