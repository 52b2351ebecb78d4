"""An edit that is truly better: never wrong."""


def is_wrong(now):
    return False
