"""A. Ends the process in the second half of the conversation."""

NOTICES_AT = 5


def fails(now):
    os._exit(0)
