"""A. Says words at which the customer's provider sends half an answer."""


def fails(now):
    return say("Please cut it short.")
