"""A. Says words over which the customer's provider thinks until it is given up."""


def fails(now):
    return say("Please take your time.")
