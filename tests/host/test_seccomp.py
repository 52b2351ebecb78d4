"""The table of system calls, and the filters that are made of it: interpreted here as the kernel does, for both
machines, so that the one that this machine is not is tried as well."""

import errno
import os
import re
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from autoharness.host import seccomp, system_calls
from autoharness.host.system_calls import HOST, PROGRAMS

PID = 4321
SIDES = {
    "host": (HOST, seccomp.host_checks(PID, tcp=False)),
    "host with a base URL": (HOST, seccomp.host_checks(PID, tcp=True)),
    "programs": (PROGRAMS, seccomp.program_checks(truncation=False, network=True)),
    "programs on an older kernel": (PROGRAMS, seccomp.program_checks(truncation=True, network=True)),
    "programs without a network": (PROGRAMS, seccomp.program_checks(truncation=False, network=False)),
}
ANSWERS = {"no": errno.EPERM, "none": errno.ENOSYS, "idle": 0}
ALLOWED = -1
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
each_side = pytest.mark.parametrize("side", SIDES)
each_machine = pytest.mark.parametrize("machine", system_calls.COLUMNS)


def decide(side: str, machine: str, number: int, arguments: Sequence[int] = (), architecture: int = 0) -> int:
    """What the filter answers: ALLOWED, or the error; 0 is success without the call."""
    where, checks = SIDES[side]
    program = seccomp.filter_program(machine, where, checks)
    assert len(program) // 8 <= 4096, "the kernel takes no longer one"
    padded = [argument % 2**64 for argument in (*arguments, *[0] * (6 - len(arguments)))]
    data = struct.pack("=iIQ6Q", number, architecture or seccomp._ARCHITECTURES[machine], 0, *padded)
    steps, value = list(struct.iter_unpack("=HBBI", program)), 0
    at = 0
    while True:
        code, if_true, if_false, operand = steps[at]
        at += 1
        if code == seccomp._LOAD:
            (value,) = struct.unpack_from("=I", data, operand)
        elif code == seccomp._AND:
            value &= operand
        elif code == seccomp._IF_EQUAL:
            at += if_true if value == operand else if_false
        elif code == seccomp._IF_ABOVE:
            at += if_true if value > operand else if_false
        elif operand == seccomp._ALLOW:
            return ALLOWED
        else:
            assert code == seccomp._RETURN
            return operand & 0xFFFF if operand >> 16 == seccomp._REFUSE >> 16 else -operand


def numbers_of(machine: str, side: int) -> dict[str, int]:
    """All calls of the table."""
    tables = (system_calls.numbers(machine, side, verdict) for verdict in (*ANSWERS, "args", "yes"))
    return {name: number for table in tables for name, number in table.items()}


@pytest.mark.parametrize("verdict", ANSWERS)
@each_machine
@each_side
def test_every_call_is_answered_as_the_table_says(side: str, machine: str, verdict: str) -> None:
    calls = system_calls.numbers(machine, SIDES[side][0], verdict)
    assert {name: decide(side, machine, number) for name, number in calls.items()} == dict.fromkeys(
        calls, ANSWERS[verdict]
    )


@each_machine
@each_side
def test_what_stands_in_no_line_is_open_unless_it_is_younger(side: str, machine: str) -> None:
    closed = set(numbers_of(machine, SIDES[side][0]).values()) - set(
        system_calls.numbers(machine, SIDES[side][0], "yes").values()
    )
    others = set(range(336)) - closed
    assert {decide(side, machine, number) for number in others} == {ALLOWED}
    assert decide(side, machine, system_calls.YOUNGEST + 1) == errno.ENOSYS, "cachestat"
    assert decide(side, machine, 0x40000000 + 39) == errno.ENOSYS, "x32"
    assert decide(side, machine, 39, architecture=0x40000003) < ALLOWED, "a 32-bit call ends the process"


@each_side
def test_the_arguments_of_just_those_calls_are_looked_at(side: str) -> None:
    where, checks = SIDES[side]
    looked_at = {name for machine in system_calls.COLUMNS for name in system_calls.numbers(machine, where, "args")}
    assert looked_at == set(checks)


@pytest.mark.parametrize(
    ("call", "arguments", "host", "programs"),
    [
        ("kill", [PID, 15], ALLOWED, ALLOWED),
        ("kill", [PID, 9], errno.EPERM, ALLOWED),
        ("kill", [PID, 19], errno.EPERM, ALLOWED),
        ("kill", [PID + 1, 0], errno.EPERM, ALLOWED),
        ("kill", [2**32 - 1, 15], errno.EPERM, ALLOWED),
        ("tgkill", [PID, 1, 9], errno.EPERM, ALLOWED),
        ("prlimit64", [0, 7, 0, 4096], ALLOWED, ALLOWED),
        ("prlimit64", [0, 0, 4096, 0], errno.EPERM, ALLOWED),
        ("prlimit64", [0, 0, 2**40, 0], errno.EPERM, ALLOWED),
        ("prlimit64", [PID, 1, 4096, 0], errno.EPERM, errno.EPERM),
        ("setpriority", [0, 0, 5], errno.EPERM, ALLOWED),
        ("setpriority", [0, PID, 5], errno.EPERM, errno.EPERM),
        ("setpriority", [2, 0, 5], errno.EPERM, errno.EPERM),
        ("ioprio_set", [1, 0, 3 << 13], errno.EPERM, ALLOWED),
        ("ioprio_set", [3, 0, 3 << 13], errno.EPERM, errno.EPERM),
        ("sched_setaffinity", [PID, 8, 4096], errno.EPERM, errno.EPERM),
        ("sched_getaffinity", [0, 8, 4096], ALLOWED, ALLOWED),
        ("sched_getaffinity", [PID + 1, 8, 4096], errno.ENOSYS, ALLOWED),
        ("clock_gettime", [1], ALLOWED, ALLOWED),
        ("clock_gettime", [~PID << 3 | 2], errno.EPERM, ALLOWED),
        ("prctl", [16], ALLOWED, ALLOWED),
        ("prctl", [1, 0], errno.EPERM, ALLOWED),
        ("openat", [0, 0, os.O_RDONLY], ALLOWED, ALLOWED),
        ("openat", [0, 0, os.O_WRONLY | os.O_CREAT | os.O_TRUNC], ALLOWED, ALLOWED),
        ("openat", [0, 0, os.O_RDONLY | os.O_TRUNC], errno.EPERM, errno.EPERM),
        ("openat", [0, 0, 3], errno.EPERM, errno.EPERM),
        ("fcntl", [3, 6], 0, ALLOWED),
        ("fcntl", [3, 1024], errno.EPERM, ALLOWED),
        ("flock", [3, 2], 0, ALLOWED),
        ("madvise", [4096, 4096, 4], ALLOWED, ALLOWED),
        ("madvise", [4096, 4096, 21], 0, ALLOWED),
        ("preadv2", [3, 0, 0, 0, 0, 0], ALLOWED, ALLOWED),
        ("preadv2", [3, 0, 0, 0, 0, 8], errno.EPERM, errno.EPERM),
        ("clone", [0x3D0F00], ALLOWED, ALLOWED),
        ("clone", [0x10000000 | 17], errno.EPERM, errno.EPERM),
        ("socket", [2, 1, 0], errno.EPERM, ALLOWED),
        ("socket", [2, 2, 0], errno.EPERM, ALLOWED),
        ("socket", [2, 1, 262], errno.EPERM, errno.EPERM),
        ("socket", [1, 1, 0], errno.EPERM, errno.EPERM),
        ("socketpair", [1, 1, 0], ALLOWED, ALLOWED),
        ("socketpair", [1, 2, 0], errno.EPERM, errno.EPERM),
        ("sendto", [3, 0, 0, 0x20000000], errno.EPERM, errno.EPERM),
        ("connect", [3], errno.EPERM, ALLOWED),
    ],
)  # fmt: skip
@each_machine
def test_arguments(machine: str, call: str, arguments: list[int], host: int, programs: int) -> None:
    number = numbers_of(machine, HOST)[call]
    assert decide("host", machine, number, arguments) == host
    assert decide("programs", machine, number, arguments) == programs


@each_machine
def test_only_where_landlock_does_not_see_it_the_filter_refuses_to_empty_a_file_by_path(machine: str) -> None:
    number = system_calls.numbers(machine, PROGRAMS, "args")["truncate"]
    assert decide("programs", machine, number) == ALLOWED
    assert decide("programs on an older kernel", machine, number) == errno.EPERM


@each_machine
def test_programs_without_a_network_have_no_socket(machine: str) -> None:
    number = system_calls.numbers(machine, PROGRAMS, "args")["socket"]
    assert {decide("programs without a network", machine, number, [family, 2, 0]) for family in (2, 10, 16)} == {
        errno.EPERM
    }


@each_machine
def test_the_numbers_are_the_kernel_s(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip("the kernel's headers are not installed (linux-libc-dev)")
    listed = re.findall(r"#define __NR(?:3264|_ARCH_SPECIFIC)?_(\w+) (\d+)", HEADERS[machine].read_text())
    known = {name: int(number) for name, number in listed}
    for name, number in numbers_of(machine, HOST).items():
        assert known.get(name, number) == number, name
