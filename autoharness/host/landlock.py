"""Landlock (Linux 5.13+): limits the files and TCP ports a process may use, and whom it may signal. Child side.

Rules only allow: a path is out of reach unless a rule is on it or above it. Source: the Linux kernel's
Documentation/userspace-api/landlock.rst.

What it does not cover: asking for a file's existence, size and times; changing its mode, owner, times or attributes;
every kind of socket except TCP; before ABI 3 (Linux 6.2) emptying a file. `seccomp` covers all but the first.
"""

import ctypes
import errno
import functools
import os
import stat
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from autoharness.core.errors import LayerMissing, TooManyLayers

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_RULE_PATH, _RULE_PORT = 1, 2

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_FOLDER, _REMOVE_FOLDER, _REMOVE_FILE = (1 << bit for bit in range(6))
_MAKE_FOLDER, _MAKE_FILE = 1 << 7, 1 << 8
_ALL_OF_ABI_1 = (1 << 13) - 1
_REFER, _TRUNCATE, _IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2

READ = _READ_FILE | _READ_FOLDER
RUN = READ | _EXECUTE
LIST = _READ_FOLDER
WRITE = READ | _WRITE_FILE | _MAKE_FILE | _MAKE_FOLDER | _REMOVE_FILE | _REMOVE_FOLDER | _TRUNCATE
OWN = _ALL_OF_ABI_1 | _REFER | _TRUNCATE | _IOCTL_DEVICE
"""Everything that can be done with files."""
_FOR_A_FILE = _EXECUTE | _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEVICE

TRUNCATION_SINCE, TCP_SINCE, SCOPES_SINCE = 3, 4, 6
ANY_PORT = 0
"""For a server: a port that the kernel picks."""


def abi() -> int:
    """The kernel's version of Landlock; 0 if it has none."""
    if sys.platform != "linux":  # there the number means another call
        return 0
    found: int = _library().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_ASK_VERSION))
    return max(found, 0)


def restrict(
    rules: Iterable[tuple[Path, int]], ports: Iterable[int], version: int, server_ports: Iterable[int] = ()
) -> None:
    """Confine this process to these rules, to TCP connections to `ports` and to TCP servers at `server_ports`, as far
    as ABI `version` goes.

    `rules`: a path and what may be done at or beneath it: READ, LIST, WRITE, RUN or OWN; one that does not exist is
    skipped.
    Call it while there is one thread, with no_new_privs set. Raises LayerMissing.
    """
    prepared = prepare(rules, ports, version, server_ports)
    try:
        apply(prepared)
    finally:
        os.close(prepared)


def prepare(
    rules: Iterable[tuple[Path, int]], ports: Iterable[int] | None, version: int, server_ports: Iterable[int] = ()
) -> int:
    """A descriptor for `apply`, from the arguments of `restrict`. `ports`: None leaves TCP. Raises LayerMissing."""
    if version < 1:
        raise LayerMissing("the kernel has no Landlock")
    handled = _ALL_OF_ABI_1
    for since, right in ((2, _REFER), (TRUNCATION_SINCE, _TRUNCATE), (5, _IOCTL_DEVICE)):
        handled |= right if version >= since else 0
    handled_tcp = _BIND_TCP | _CONNECT_TCP if version >= TCP_SINCE and ports is not None else 0
    scopes = _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS if version >= SCOPES_SINCE else 0
    words = (ctypes.c_uint64 * 3)(handled, handled_tcp, scopes)
    size = 24 if scopes else 16 if version >= TCP_SINCE else 8  # an older kernel takes no longer structure
    ruleset = _call(_CREATE_RULESET, ctypes.byref(words), ctypes.c_size_t(size), ctypes.c_uint(0))
    try:
        for path, rights in rules:
            _allow_path(ruleset, path, rights & handled)
        may = [*((_CONNECT_TCP, port) for port in ports or ()), *((_BIND_TCP, port) for port in server_ports)]
        for right, port in may if handled_tcp else ():
            attribute = (ctypes.c_uint64 * 2)(right, port)
            _call(_ADD_RULE, ctypes.c_int(ruleset), _RULE_PORT, ctypes.byref(attribute), ctypes.c_uint(0))
    except BaseException:
        os.close(ruleset)
        raise
    return ruleset


def apply(prepared: int) -> None:
    """Confine this process, in addition to what confines it already. Raises LayerMissing, TooManyLayers."""
    _call(_RESTRICT_SELF, ctypes.c_int(prepared), ctypes.c_uint(0))


def _allow_path(ruleset: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        # the kernel's struct landlock_path_beneath_attr: the rights, the folder
        is_folder = stat.S_ISDIR(os.fstat(place).st_mode)
        attribute = struct.pack("=Qi", rights if is_folder else rights & _FOR_A_FILE, place)
        _call(_ADD_RULE, ctypes.c_int(ruleset), _RULE_PATH, attribute, ctypes.c_uint(0))
    finally:
        os.close(place)


def _call(number: int, *arguments: object) -> int:
    result: int = _library().syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        if code == errno.E2BIG and number == _RESTRICT_SELF:
            raise TooManyLayers(
                "the sandboxes that this was started in have used up Landlock's 16 layers (two are needed): start it "
                "outside of some of them; the same command goes on"
            )
        off = " (it is switched off)" if code == errno.EOPNOTSUPP else ""
        raise LayerMissing(f"Landlock refuses: {os.strerror(code)}{off}")
    return result


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
