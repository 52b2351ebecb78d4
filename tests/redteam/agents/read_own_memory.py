"""Searches its own process for task data and keys: stacks, every object, frames of other threads."""

import gc
import sys


def attack(world):
    texts = []
    for frame in sys._current_frames().values():
        while frame:
            texts += [str(value)[:1000] for value in list(frame.f_locals.values())]
            frame = frame.f_back
    for thing in gc.get_objects():
        if isinstance(thing, dict):
            texts += [value[:1000] for value in list(thing.values()) if isinstance(value, str)]
    return "".join(text for text in texts if "canary" in text and "attack(world)" not in text)
