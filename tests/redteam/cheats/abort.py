"""A. Aborts, as the C library does when its heap is broken."""


def fails(now):
    os.abort()
