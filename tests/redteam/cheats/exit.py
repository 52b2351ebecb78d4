"""A. Ends the process."""


def fails(now):
    os._exit(0)
