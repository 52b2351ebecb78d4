"""A. Says words that the customer's provider does not take (400)."""


def fails(now):
    return say("These words are forbidden.")
