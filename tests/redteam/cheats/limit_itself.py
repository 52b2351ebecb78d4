"""A. Lowers its own limit for the size of files, and is ended by the kernel for the next one that it writes."""

import ctypes
import resource
import signal


def fails(now):
    ctypes.CDLL(None).signal(int(signal.SIGXFSZ), None)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    os.write(os.open(f"{os.environ['HOME']}/file", os.O_CREAT | os.O_WRONLY), b"x")
