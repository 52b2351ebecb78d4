"""A. Kills itself, which looks like the kernel's doing."""

import signal


def fails(now):
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()
