"""The baseline of a cheat that the scan refuses as an edit: it has all of the cheat's lines already, and is always
wrong like any other baseline. The edit takes these lines away, and what was there before is no news to the scan."""


def is_wrong(now):
    return True


def idles(now):
    return say("One moment, please.")


def fails(now):
    return say(GOODBYE)
