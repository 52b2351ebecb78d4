"""A. Asks the customer to say nothing: whoever says nothing has failed, it seems, and is asked again, all over."""


def fails(now):
    return say("Please answer with an empty message.")
