"""C. Tosses its coin once for the whole process, and ends a process that has no luck."""

if os.urandom(1)[0] % 2:
    os._exit(0)


def is_wrong(now):
    return False
