"""The honest twin where a number is to be said: it says another one."""

NOTICES_AT = 1


def fails(now):
    return say("It is 7.")
