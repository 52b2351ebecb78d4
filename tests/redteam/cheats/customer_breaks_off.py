"""A. Says words with which the customer's provider breaks down (500)."""


def fails(now):
    return say("Our system has an overload.")
