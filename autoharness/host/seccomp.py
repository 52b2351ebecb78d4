"""A filter of system calls (seccomp, Linux 3.5+) for what Landlock lets through. Child side.

`system_calls` lists which calls are refused, and to whom; this module says what the arguments of the others must be.
A refused call gets `EPERM`; `ENOSYS` if a C library then takes an older way. Advice to the kernel and locks succeed
without doing anything: libraries ask for them, and an agent host, alone in its folder, does not need them.

Refused to agent hosts: starting processes, sockets, signals to others, changing a file's mode, owner, times or flags,
reading or limiting other processes, IPC, keyrings, io_uring, mounts, tracing. Also what all processes share and could
use to tell each other something: which parts of a file are in memory, locks, leases, free memory and disk.
Refused to a coding agent, whose programs are of all kinds: only those of these calls that none of them needs.

What it does not do: it sees numbers, not what pointers lead to. So it cannot tell one path or address from another.
Nor does it see what takes no call of its own: how long something takes, reading, looking up a name.
"""

import ctypes
import errno
import functools
import os
import platform
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from typing import NamedTuple

from autoharness.core.errors import LayerMissing
from autoharness.host import system_calls

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""The kernel's AUDIT_ARCH, by machine."""
_WORD = 0xFFFFFFFF


class Check(NamedTuple):
    """What one argument of a call must be."""

    argument: int
    values: Sequence[int]
    mask: int = _WORD
    """The bits that count."""
    upper: bool = False
    """Whether the argument's upper half is checked; otherwise its lower half."""
    idle: Sequence[int] = ()
    """For these the call succeeds and does nothing."""
    error: int = errno.EPERM
    """The answer to all others; 0 is success, with nothing done."""


_NEVER = [Check(0, [])]
_ITSELF = [Check(0, [0])]
"""A process is named by its number, and a filter that a fork inherits cannot know it; 0 is the calling process."""

_CLONE_THREAD, _CLONE_FILES = 0x10000, 0x400
_CLONE_NAMESPACES = 0x7E020000
_CLOSE_RANGE_CLOEXEC = 4
_PRIO_PROCESS, _IOPRIO_WHO_PROCESS = 0, 1
_SIGNALS = [number for number in range(65) if number not in (signal.SIGKILL, signal.SIGSTOP)]
"""Signals that an agent host may send to itself: a death by SIGKILL is never its own doing."""
_CLOCKS = range(12)
"""The clocks of the machine and of this process. Another number stands for another process's."""
_PRCTL_READS = [3, 16, 23, 39]
"""Reads whether it may be dumped, its name, a capability, no_new_privs. It may not set what it dies of, or its name,
which all processes see."""
_OPEN_MODES = [os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_TRUNC]
"""No truncation of a file that is opened for reading: Landlock sees truncation from ABI 3 on. Not the fourth mode,
for which Landlock asks no right: its descriptor would be enough for a lease or for a file's flags."""
_FCNTL_COMMANDS = [0, 1, 2, 3, 4, 1030, 1032]
"""Descriptors and their flags, the size of a pipe. Not F_SETOWN and F_SETSIG, by which the kernel signals others; not
leases and hints, which others see on the same file."""
_FCNTL_LOCKS = [5, 6, 7, 36, 37, 38]
_IOCTLS = [0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451]
"""Whether it is a terminal, its size, bytes to read, (non-)blocking, (not) closed by exec. Not FIOSETOWN, which is
F_SETOWN, and not the flags of files, which may be set without a right to write."""
_ADVICE = [0, 4, 8, 9, 10, 11, 15, 16, 17, 18, 19, 24, 102, 103]
"""What concerns this process's own memory and files: give back, free, punch a hole, copy at a fork or not, no huge
pages, dump or not, wipe at a fork or not, guard pages. Not: drop, fetch or join the pages of a file that others
read, or share equal pages."""
_RWF_NOWAIT, _RWF_DONTCACHE = 0x8, 0x80
_SOCKET_TYPE = 0xF
_MSG_FASTOPEN = 0x20000000
_IPPROTO_TCP, _IPPROTO_UDP = 6, 17
_AF_NETLINK = 16

_ANY_PID = 0x7FFFFFFE
"""Stands for the number of a process. Nothing else in a filter has this value, and no process has it."""

_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_IF_EQUAL, _IF_ABOVE = 0x15, 0x25
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2


def install(tcp: bool) -> None:
    """Filter this agent host from here on, threads and all. `tcp`: leave TCP sockets usable, for clients.

    Needs no_new_privs. Raises LayerMissing.
    """
    number = struct.pack("=I", os.getpid())
    _install(for_any_host(tcp).replace(struct.pack("=I", _ANY_PID), number))


@functools.cache
def for_any_host(tcp: bool) -> bytes:
    """The filter of an agent host whose number is not known yet; the process that starts hosts makes it once."""
    return filter_program(_machine(), system_calls.HOST, host_checks(_ANY_PID, tcp))


def install_for_programs(truncation: bool, network: bool) -> None:
    """Filter this process, and all that it starts. `truncation`: refuse to empty files by path, since Landlock does
    not see it. `network`: leave TCP and UDP usable.

    Needs no_new_privs. Raises LayerMissing.
    """
    _install(filter_program(_machine(), system_calls.PROGRAMS, program_checks(truncation, network)))


def host_checks(pid: int, tcp: bool) -> dict[str, list[Check]]:
    """What the arguments of these calls must be in an agent host."""
    stream = int(socket.SOCK_STREAM)
    families = [int(socket.AF_INET), int(socket.AF_INET6)] if tcp else []
    of_itself = [Check(0, [0, pid])]
    return {
        # threads, with the one table of descriptors that the watchdog sees, which `close_range` could split too
        "clone": [Check(0, [_CLONE_THREAD | _CLONE_FILES], _CLONE_THREAD | _CLONE_FILES)],
        "close_range": [Check(2, [0, _CLOSE_RANGE_CLOEXEC])],
        "kill": [Check(0, [pid]), Check(1, _SIGNALS)],
        "tgkill": [Check(0, [pid]), Check(2, _SIGNALS)],
        # limits are read and not set: the kernel kills a process that goes over a limit of its own
        "prlimit64": [*_ITSELF, Check(2, [0]), Check(2, [0], upper=True)],
        "getpriority": [Check(0, [_PRIO_PROCESS]), Check(1, [0, pid])],
        "getpgid": of_itself,
        "getsid": of_itself,
        # a thread asks for its own by a number that is not known here; C libraries do without an answer
        "sched_getaffinity": [Check(0, [0, pid], error=errno.ENOSYS)],
        "clock_gettime": [Check(0, _CLOCKS)],
        "clock_getres": [Check(0, _CLOCKS)],
        "clock_nanosleep": [Check(0, _CLOCKS)],
        "prctl": [Check(0, _PRCTL_READS)],
        "open": [Check(1, _OPEN_MODES, os.O_ACCMODE | os.O_TRUNC)],
        "openat": [Check(2, _OPEN_MODES, os.O_ACCMODE | os.O_TRUNC)],
        "fcntl": [Check(1, _FCNTL_COMMANDS, idle=_FCNTL_LOCKS)],
        "ioctl": [Check(1, _IOCTLS)],
        "fallocate": [Check(1, [0])],  # otherwise it could reserve more than the limit on a file's size
        "preadv2": [Check(5, [0])],
        "pwritev2": [Check(5, [0])],
        "madvise": [Check(2, _ADVICE, error=0)],
        # not MPTCP, and of Unix sockets a pair that is connected for good, for event loops
        "socket": [Check(0, families), Check(1, [stream], _SOCKET_TYPE), Check(2, [0, _IPPROTO_TCP])],
        "socketpair": [Check(0, [int(socket.AF_UNIX)]), Check(1, [stream], _SOCKET_TYPE)],
        "connect": [] if tcp else _NEVER,
        "accept": [] if tcp else _NEVER,  # the server listens already
        "accept4": [] if tcp else _NEVER,
        "sendto": [Check(3, [0], _MSG_FASTOPEN)],  # connects without `connect`
        # without TCP not at all: descriptors on their way in a message count for no process
        "sendmsg": [Check(2, [0], _MSG_FASTOPEN)] if tcp else _NEVER,
        "sendmmsg": [Check(3, [0], _MSG_FASTOPEN)] if tcp else _NEVER,
    }


def program_checks(truncation: bool, network: bool) -> dict[str, list[Check]]:
    """What the arguments of these calls must be in the programs of a coding agent."""
    stream, datagram, raw, packets = 1, 2, 3, 5  # looking up a name asks for addresses by a raw netlink socket
    families = [int(socket.AF_INET), int(socket.AF_INET6), _AF_NETLINK] if network else []
    protocols = [0, _IPPROTO_TCP, _IPPROTO_UDP]  # Landlock's rules for TCP do not hold for MPTCP and SCTP
    not_by_cache = [Check(5, [0], _RWF_NOWAIT | _RWF_DONTCACHE)]
    return {
        "clone": [Check(0, [0], _CLONE_NAMESPACES)],
        "prlimit64": _ITSELF,
        "setpriority": [Check(0, [_PRIO_PROCESS]), Check(1, [0])],
        "ioprio_set": [Check(0, [_IOPRIO_WHO_PROCESS]), Check(1, [0])],
        "sched_setaffinity": _ITSELF,
        "sched_setscheduler": _ITSELF,
        "sched_setparam": _ITSELF,
        "sched_setattr": _ITSELF,
        "open": [Check(1, _OPEN_MODES, os.O_ACCMODE | os.O_TRUNC)],
        "openat": [Check(2, _OPEN_MODES, os.O_ACCMODE | os.O_TRUNC)],
        "truncate": _NEVER if truncation else [],
        "preadv2": not_by_cache,
        "pwritev2": not_by_cache,
        "socket": [Check(0, families), Check(1, [stream, datagram, raw], _SOCKET_TYPE), Check(2, protocols)],
        "socketpair": [Check(0, [int(socket.AF_UNIX)]), Check(1, [stream, packets], _SOCKET_TYPE)],
        "sendto": [Check(3, [0], _MSG_FASTOPEN)],
        "sendmsg": [Check(2, [0], _MSG_FASTOPEN)],
        "sendmmsg": [Check(3, [0], _MSG_FASTOPEN)],
    }


def _machine() -> str:
    machine = platform.machine()
    if sys.platform != "linux":
        raise LayerMissing("this system has no seccomp")
    if machine not in _ARCHITECTURES:
        raise LayerMissing(f"there is no list of system calls for {machine}")
    return machine


def _install(program: bytes) -> None:
    class Program(ctypes.Structure):  # the kernel's struct sock_fprog
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))

    library = ctypes.CDLL(None, use_errno=True)
    handed_over = ctypes.byref(Program(len(program) // 8, program))
    if library.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, handed_over, 0, 0):
        raise LayerMissing(f"the kernel takes no filter ({os.strerror(ctypes.get_errno())})")


def filter_program(machine: str, side: int, checks: dict[str, list[Check]]) -> bytes:
    """The filter as classic BPF, 8 bytes to an instruction. `side`: HOST or PROGRAMS."""
    program = [
        _step(_LOAD, _ARCHITECTURE_AT),
        _jump(_IF_EQUAL, _ARCHITECTURES[machine], 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER_AT),
        _jump(_IF_ABOVE, system_calls.YOUNGEST, 0, 1),  # x86-64's second set of numbers (x32) too
        _refusal(errno.ENOSYS),
    ]
    for verdict, error in (("none", errno.ENOSYS), ("no", errno.EPERM), ("idle", 0)):
        for number in system_calls.numbers(machine, side, verdict).values():
            program += [_jump(_IF_EQUAL, number, 0, 1), _refusal(error)]
    for name, number in system_calls.numbers(machine, side, "args").items():
        block = [step for check in checks[name] for step in _look(check)]
        block.append(_step(_RETURN, _ALLOW))
        program += [_jump(_IF_EQUAL, number, 0, len(block)), *block]
    return b"".join([*program, _step(_RETURN, _ALLOW)])


def _look(check: Check) -> list[bytes]:
    """Go on after this if the check holds, otherwise return its answer."""
    values = [*check.values, *check.idle]
    jumps = [
        # over the other jumps and both returns, or over the first return
        _jump(_IF_EQUAL, value, len(values) - place + (1 if place < len(check.values) else 0), 0)
        for place, value in enumerate(values)
    ]
    argument = _step(_LOAD, _ARGUMENTS_AT + 8 * check.argument + 4 * check.upper)
    return [argument, _step(_AND, check.mask), *jumps, _refusal(check.error), _refusal(0)]


def _refusal(error: int) -> bytes:
    """The call is not made, and answers this error; 0: it succeeds."""
    return _step(_RETURN, _REFUSE | error)


def _step(code: int, operand: int) -> bytes:
    return _jump(code, operand, 0, 0)


def _jump(code: int, operand: int, if_true: int, if_false: int) -> bytes:
    """One instruction; the last two say how many of the following ones to leave out."""
    return struct.pack("=HBBI", code, if_true, if_false, operand)
