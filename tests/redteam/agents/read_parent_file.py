"""Opens a file once more that the worker has open, through /proc."""

import os


def attack(world):
    found = []
    for name in os.listdir(f"/proc/{world['parent']}/fd"):
        path = f"/proc/{world['parent']}/fd/{name}"
        if os.readlink(path).endswith("tasks.json"):
            found.append(open(path).read())
    return "".join(found)
