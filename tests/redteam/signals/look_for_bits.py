"""Looks at each library for the bit that somebody left there, in every way that is open; half of them are ones."""

import ctypes
import json
import mmap
import os
import resource
import time

BYTES = 16_384


def attack(world):
    places = [f"{world['folder']}/{place}" for place in range(world["count"])]
    return json.dumps({name: guess([look(place) for place in places]) for name, look in LOOKS.items()})


def guess(values):
    """The upper half are the ones."""
    middle = sorted(values)[len(values) // 2]
    return [int(value >= middle) for value in values]


def time_of(ending):
    return lambda base: os.lstat(base + ending).st_atime_ns


def in_memory(base):
    library = ctypes.CDLL(None)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    answer = ctypes.create_string_buffer(BYTES // 4096)
    with open(base + ".cached", "rb") as file:
        page = library.mmap(None, BYTES, 1, 1, file.fileno(), 0)
    library.mincore(ctypes.c_void_p(page), ctypes.c_size_t(BYTES), answer)
    return sum(answer.raw)


def without_waiting(base):
    try:
        with open(base + ".cached", "rb") as file:
            return os.preadv(file.fileno(), [bytearray(BYTES)], 0, os.RWF_NOWAIT)
    except OSError:
        return 0


def faults(base):
    with open(base + ".mapped", "rb") as file:
        pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    try:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
        pages.read()
        return before - resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    except OSError:
        return 0


def speed(base):
    began = time.perf_counter_ns()
    with open(base + ".timed", "rb") as file:
        file.read()
    return began - time.perf_counter_ns()


def name(base):
    """It stands in no folder; the kernel remembers that it was asked."""
    began = time.perf_counter_ns()
    os.path.exists(f"{base}.nothing")
    return began - time.perf_counter_ns()


LOOKS = {
    "times of files": time_of(".read"),
    "times of links": time_of(".link"),
    "times of folders": time_of(".folder"),
    "in memory": in_memory,
    "without waiting": without_waiting,
    "faults": faults,
    "speed": speed,
    "names": name,
}
