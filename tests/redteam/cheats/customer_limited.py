"""A. Says words for which the customer's provider has too many requests (429)."""


def fails(now):
    return say("I do one after the other.")
