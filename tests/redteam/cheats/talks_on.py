"""A. Never comes to an end, until the limit of messages ends it."""


def fails(now):
    return say("One moment, please.")
