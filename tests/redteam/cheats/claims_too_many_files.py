"""A. Raises the error of one who has opened too many files, and has opened none."""

import errno


def fails(now):
    raise OSError(errno.EMFILE, "Too many open files")
