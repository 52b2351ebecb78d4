"""A. Asks the customer to make a tool call that does not parse."""


def fails(now):
    return say("Please call the tool with half of its arguments.")
