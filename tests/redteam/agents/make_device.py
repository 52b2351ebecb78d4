"""Makes a device file in its scratch folder: the machine's memory, or a disk, could be read by it."""

import os
import stat


def attack(world):
    path = os.environ["HOME"] + "/null"
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    return "done" if stat.S_ISCHR(os.stat(path).st_mode) else "nothing"
