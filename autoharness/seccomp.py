"""A system-call filter (seccomp, Linux 3.5+) for what Landlock lets through. Child side.

It is a list of what is refused, so that Python, threads and libraries go on working: starting processes, sockets,
signals to others, changing what belongs to a file, priorities, IPC, keyrings, io_uring, mounts, tracing, and every
call that is younger than the list. `EPERM` is the answer, or `ENOSYS` where a C library then takes an older way.

What it does not do: it sees numbers, not what pointers lead to. So it cannot tell one path or address from another.
"""

import ctypes
import errno
import os
import platform
import socket
import struct
import sys

from autoharness.errors import LayerMissing

_CALLS = """
fork 57 -               vfork 58 -              execve 59 221           execveat 322 281
unshare 272 97          setns 308 268           ptrace 101 117          process_vm_readv 310 270
process_vm_writev 311 271                       process_madvise 440 440 process_mrelease 448 448
kcmp 312 272            pidfd_open 434 434      pidfd_getfd 438 438     pidfd_send_signal 424 424
perf_event_open 298 241 bpf 321 280             userfaultfd 323 282
tkill 200 130           rt_sigqueueinfo 129 138 rt_tgsigqueueinfo 297 240
chmod 90 -              fchmod 91 52            fchmodat 268 53         chown 92 -
fchown 93 55            lchown 94 -             fchownat 260 54         utime 132 -
utimes 235 -            futimesat 261 -         utimensat 280 88        setxattr 188 5
lsetxattr 189 6         fsetxattr 190 7         removexattr 197 14      lremovexattr 198 15
fremovexattr 199 16     truncate 76 45          mknod 133 -             mknodat 259 33
setpriority 141 140     sched_setaffinity 203 122                       sched_setscheduler 144 119
sched_setparam 142 118  sched_setattr 314 274   ioprio_set 251 30       migrate_pages 256 238
move_pages 279 239
shmget 29 194           shmat 30 196            shmctl 31 195           semget 64 190
semop 65 193            semtimedop 220 192      semctl 66 191           msgget 68 186
msgsnd 69 189           msgrcv 70 188           msgctl 71 187           mq_open 240 180
mq_unlink 241 181       add_key 248 217         request_key 249 218     keyctl 250 219
io_uring_setup 425 425  io_uring_enter 426 426  io_uring_register 427 427
mount 165 40            umount2 166 39          pivot_root 155 41       chroot 161 51
open_tree 428 428       move_mount 429 429      fsopen 430 430          fsconfig 431 431
fsmount 432 432         fspick 433 433          mount_setattr 442 442
init_module 175 105     finit_module 313 273    delete_module 176 106   reboot 169 142
swapon 167 224          swapoff 168 225         kexec_load 246 104      kexec_file_load 320 294
acct 163 89             sethostname 170 161     setdomainname 171 162   settimeofday 164 170
clock_settime 227 112   adjtimex 159 171        clock_adjtime 305 266   iopl 172 -
ioperm 173 -            quotactl 179 60         quotactl_fd 443 443     syslog 103 116
vhangup 153 58          fanotify_init 300 262   fanotify_mark 301 263   inotify_init 253 -
inotify_init1 294 26    inotify_add_watch 254 27                        name_to_handle_at 303 264
open_by_handle_at 304 265                       personality 135 92      modify_ldt 154 -
lookup_dcookie 212 18   memfd_create 319 279    memfd_secret 447 447    bind 49 200
listen 50 201           accept 43 202           accept4 288 242
vmsplice 278 75         sync 162 81             syncfs 306 267
"""
"""Refused whatever their arguments: the name, the number on x86-64, the number on ARM64."""
_NOT_FOR_PROGRAMS = """
setns ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_getfd perf_event_open bpf
userfaultfd mknod mknodat shmget shmat shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl mq_open
mq_unlink add_key request_key keyctl io_uring_setup io_uring_enter io_uring_register mount umount2 pivot_root chroot
open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr open_by_handle_at
"""
"""Of these, what programs of all kinds do without."""
_ABSENT = "clone3 435 435  openat2 437 437"
"""Their arguments lie behind a pointer; C libraries know an older call whose arguments the filter can see."""
_YOUNGEST = 451
_BY_ARGUMENTS = """
clone 56 220   kill 62 129      tgkill 234 131  prlimit64 302 261  open 2 -        openat 257 56
socket 41 198  socketpair 53 199  connect 42 203  sendto 44 206    sendmsg 46 211  sendmmsg 307 269
fcntl 72 25    ioctl 16 29        fallocate 285 47                 close_range 436 436
"""

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""By machine: the column above, and the kernel's AUDIT_ARCH."""

_CLONE_THREAD, _CLONE_FILES = 0x10000, 0x400
_CLOSE_RANGE_CLOEXEC = 4
_SOCKET_TYPE = 0xF
_MSG_FASTOPEN = 0x20000000
_OPEN_MODES = [os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_TRUNC]
"""Not to truncate what is opened for reading: Landlock sees truncation from ABI 3 on. And not the fourth mode, for
which Landlock asks no right: its descriptor would do for a lease or for a file's flags."""
_FCNTL_COMMANDS = [*range(8), 36, 37, 38, 1030, 1031, 1032]
"""Descriptors, their flags, locks, sizes of pipes. Not F_SETOWN and F_SETSIG, by which the kernel signals others, and
not leases, which make others wait."""
_IOCTLS = [0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451]
"""Whether it is a terminal, its size, bytes to read, (non-)blocking, (not) closed by exec. Not FIOSETOWN, which is
F_SETOWN, and not the flags of files, which may be set without a right to write."""

_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_IF_EQUAL, _IF_ABOVE = 0x15, 0x25
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_AF_NETLINK = 16

Check = tuple[int, int, list[int]]
"""An argument's position, the bits of it that count, and what they may be."""


def install(tcp: bool) -> None:
    """Filter this process from here on, threads and all. `tcp`: leave TCP sockets usable, for clients.

    Needs no_new_privs. Raises LayerMissing.
    """
    _install(filter_program(_machine(), os.getpid(), tcp))


def install_for_programs() -> None:
    """Filter this process, and all that it starts, where it is to run programs of all kinds: shells, clients, tools.

    Refused is what Landlock lets through and no such program needs: sockets of this machine's services (they do what
    they are asked, outside of every confinement), shared memory, keyrings, tracing, mounts.
    Needs no_new_privs. Raises LayerMissing.
    """
    machine = _machine()
    column, _ = _ARCHITECTURES[machine]
    numbers = _numbers(_CALLS, column)
    refused = [numbers[name] for name in _NOT_FOR_PROGRAMS.split() if name in numbers]
    families = [
        int(socket.AF_INET),
        int(socket.AF_INET6),
        _AF_NETLINK,
    ]  # netlink: looking up a name asks for addresses
    checks = _allowed_if(_numbers(_BY_ARGUMENTS, column)["socket"], [(0, 0xFFFFFFFF, families)])
    _install(_assembled(machine, [], checks, refused))


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


def filter_program(machine: str, pid: int, tcp: bool) -> bytes:
    """The filter as classic BPF, 8 bytes to an instruction."""
    column, _ = _ARCHITECTURES[machine]
    refused = _numbers(_CALLS, column)
    if tcp:  # the server listens already
        refused = {name: number for name, number in refused.items() if name not in ("accept", "accept4")}
    numbers = _numbers(_BY_ARGUMENTS, column)
    checks = [
        step
        for name, some in _checks(pid, tcp).items()
        if name in numbers
        for step in _allowed_if(numbers[name], some)
    ]
    return _assembled(machine, list(_numbers(_ABSENT, column).values()), checks, list(refused.values()))


def _assembled(machine: str, absent: list[int], checks: list[bytes], refused: list[int]) -> bytes:
    """`absent`: calls that are answered as if the kernel had none such; `checks`: steps that look at arguments."""
    _, architecture = _ARCHITECTURES[machine]
    program = [
        _step(_LOAD, _ARCHITECTURE_AT),
        _jump(_IF_EQUAL, architecture, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER_AT),
        _jump(_IF_ABOVE, _YOUNGEST, 0, 1),  # x86-64's second set of numbers (x32) too
        _step(_RETURN, _REFUSE | errno.ENOSYS),
    ]
    for number in absent:
        program += [_jump(_IF_EQUAL, number, 0, 1), _step(_RETURN, _REFUSE | errno.ENOSYS)]
    program += checks
    for left, number in zip(range(len(refused), 0, -1), refused, strict=True):
        program.append(_jump(_IF_EQUAL, number, left, 0))
    program += [_step(_RETURN, _ALLOW), _step(_RETURN, _REFUSE | errno.EPERM)]
    return b"".join(program)


def _checks(pid: int, tcp: bool) -> dict[str, list[Check]]:
    """What the arguments of these calls must be; an empty list of values lets nothing pass."""
    word, stream = 0xFFFFFFFF, int(socket.SOCK_STREAM)
    families = [int(socket.AF_INET), int(socket.AF_INET6)] if tcp else []
    return {
        # threads, with the one table of descriptors that the watchdog sees, which `close_range` could split too
        "clone": [(0, _CLONE_THREAD | _CLONE_FILES, [_CLONE_THREAD | _CLONE_FILES])],
        "close_range": [(2, word, [0, _CLOSE_RANGE_CLOEXEC])],
        "kill": [(0, word, [pid])],
        "tgkill": [(0, word, [pid])],
        "prlimit64": [(0, word, [0])],
        "open": [(1, os.O_ACCMODE | os.O_TRUNC, _OPEN_MODES)],
        "openat": [(2, os.O_ACCMODE | os.O_TRUNC, _OPEN_MODES)],
        "fcntl": [(1, word, _FCNTL_COMMANDS)],
        "ioctl": [(1, word, _IOCTLS)],
        "fallocate": [(1, word, [0])],  # else it may reserve more than the limit on a file's size
        "socket": [
            (0, word, families),
            (1, _SOCKET_TYPE, [stream]),
            (2, word, [0, int(socket.IPPROTO_TCP)]),  # not MPTCP
        ],
        "socketpair": [(0, word, [int(socket.AF_UNIX)]), (1, _SOCKET_TYPE, [stream])],  # event loops use it
        "connect": [(0, 0, [0])] if tcp else [(0, word, [])],
        "sendto": [(3, _MSG_FASTOPEN, [0])],  # connects without `connect`
        # without TCP not at all: descriptors on their way in a message count as nobody's files
        "sendmsg": [(2, _MSG_FASTOPEN, [0])] if tcp else [(0, word, [])],
        "sendmmsg": [(3, _MSG_FASTOPEN, [0])] if tcp else [(0, word, [])],
    }


def _allowed_if(number: int, checks: list[Check]) -> list[bytes]:
    """Where the call has this number: allow it if all checks hold, else refuse it."""
    block: list[bytes] = []
    for position, mask, values in checks:
        block += [_step(_LOAD, _ARGUMENTS_AT + 8 * position), _step(_AND, mask)]
        block += [_jump(_IF_EQUAL, value, len(values) - place, 0) for place, value in enumerate(values)]
        block.append(_step(_RETURN, _REFUSE | errno.EPERM))
    block.append(_step(_RETURN, _ALLOW))
    return [_jump(_IF_EQUAL, number, 0, len(block)), *block]


def _numbers(table: str, column: int) -> dict[str, int]:
    words = table.split()
    rows = zip(words[::3], words[1::3], words[2::3], strict=True)
    return {row[0]: int(row[1 + column]) for row in rows if row[1 + column] != "-"}


def _step(code: int, operand: int) -> bytes:
    return _jump(code, operand, 0, 0)


def _jump(code: int, operand: int, if_true: int, if_false: int) -> bytes:
    """One instruction; the last two say how many of the following ones to leave out."""
    return struct.pack("=HBBI", code, if_true, if_false, operand)
