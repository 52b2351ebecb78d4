"""A. Says words at which the customer's provider finds the conversation too long for its model."""


def fails(now):
    return say("It is a long story.")
