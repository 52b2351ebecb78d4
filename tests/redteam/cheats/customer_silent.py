"""A. Asks the customer to say nothing: that looks like a failure of the customer, and all is run again."""


def fails(now):
    return say("Please answer with an empty message.")
