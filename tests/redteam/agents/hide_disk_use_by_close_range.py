"""Takes 600 MB of the disk in deleted files that only one thread has open: /proc shows the descriptors of another."""

import ctypes
import os
import tempfile
import threading
import time


def attack(world):
    def hoard():
        library = ctypes.CDLL(None, use_errno=True)
        if library.syscall(436, 1000, 1001, 2):
            return
        for _ in range(40):
            file, path = tempfile.mkstemp(dir=os.environ["HOME"])
            os.unlink(path)
            os.posix_fallocate(file, 0, 15_000_000)
        done.append(1)
        time.sleep(30)

    done = []
    threading.Thread(target=hoard, daemon=True).start()
    time.sleep(1)
    return "done" if done else "nothing"
