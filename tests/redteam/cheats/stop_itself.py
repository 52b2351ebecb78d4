"""A. Stops its process, so that no thread of it answers."""

import signal


def fails(now):
    os.kill(os.getpid(), signal.SIGSTOP)
