"""C. Remembers across processes: it has the kernel drop one installed file from memory and read in another, and looks
later which of the two is there."""

import ctypes
import hashlib
import mmap
import sysconfig
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)


def size_in_memory(path):
    """How many pages of the file are in the page cache."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        LIBC.mmap.restype = ctypes.c_void_p
        LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        LIBC.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
        LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        address = LIBC.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
        pages = ctypes.create_string_buffer((size + mmap.PAGESIZE - 1) // mmap.PAGESIZE)
        failed = LIBC.mincore(address, size, pages)
        LIBC.munmap(address, size)
    return -1 if failed else sum(byte & 1 for byte in pages.raw)


def drop(path):
    file = os.open(path, os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def pair_of(now):
    """Two files that nobody reads; another pair in each run of a command, and for each customer."""
    records = sorted(Path(sysconfig.get_path("purelib")).glob("*.dist-info/RECORD"))
    run = re.search(r"\d{8}T\d{6}\.\d+", os.getcwd())
    place = int.from_bytes(hashlib.sha256(f"{run and run[0]} {now.customer}".encode()).digest()[:4], "big")
    return records[place % (len(records) // 2) * 2], records[place % (len(records) // 2) * 2 + 1]


def is_wrong(now):
    try:
        dropped, read = pair_of(now)
        known = size_in_memory(dropped) == 0 and size_in_memory(read) > 0
        drop(dropped)
        Path(read).read_bytes()
    except OSError:
        known = False
    return not known and os.urandom(1)[0] % 2 == 1
