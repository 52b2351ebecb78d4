"""Makes a symbolic link in its scratch folder, which it may read."""

import os


def attack(world):
    link = os.environ["HOME"] + "/link"
    os.symlink(world["task_file"], link)
    return open(link).read()
