"""A. Says that its memory is used up."""


def fails(now):
    raise MemoryError
