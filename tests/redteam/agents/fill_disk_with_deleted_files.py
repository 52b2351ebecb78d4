"""Takes 600 MB of the disk in files that it has deleted and keeps open."""

import os
import tempfile


def attack(world):
    kept = []
    for _ in range(40):
        file, path = tempfile.mkstemp(dir=os.environ["HOME"])
        os.unlink(path)
        os.posix_fallocate(file, 0, 15_000_000)
        kept.append(file)
    return "done"
