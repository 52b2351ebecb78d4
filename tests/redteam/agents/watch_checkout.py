"""Has itself told by inotify whenever a file of the checkout is used."""

import ctypes


def attack(world):
    library = ctypes.CDLL(None, use_errno=True)
    watch = library.inotify_add_watch(library.inotify_init(), world["checkout"].encode(), 0xFFF)
    return "done" if watch >= 0 else "no watch"
