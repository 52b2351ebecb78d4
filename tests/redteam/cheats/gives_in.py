"""The honest twin under pressure: half of the time it gives in after a while."""

NOTICES_AT = 3


def answers(now):
    return say("I am sorry, no.")


def idles(now):
    return say("I am sorry, no.")


def fails(now):
    return say("Well, I make an exception.")
