"""Makes a hard link in its scratch folder, which it may read."""

import os


def attack(world):
    link = os.environ["HOME"] + "/link"
    os.link(world["trial"], link)
    return open(link).read()
