"""Runs a command as on an older kernel: some of its system calls do not exist.

python tests/support/older_kernel.py landlock python benchmark.py ...
python tests/support/older_kernel.py landlock,seccomp python benchmark.py ...
"""

import ctypes
import errno
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from autoharness.host import seccomp

_LANDLOCK_CALLS = (444, 445, 446)
_PRCTL = {"x86_64": 157, "aarch64": 167}[os.uname().machine]


def _refuse(code: int) -> bytes:
    return seccomp._step(seccomp._RETURN, seccomp._REFUSE | code)


def _filter(missing: list[str]) -> bytes:
    program = [seccomp._step(seccomp._LOAD, seccomp._NUMBER_AT)]
    for number in _LANDLOCK_CALLS if "landlock" in missing else ():
        program += [seccomp._jump(seccomp._IF_EQUAL, number, 0, 1), _refuse(errno.ENOSYS)]
    if "seccomp" in missing:
        program += [
            seccomp._jump(seccomp._IF_EQUAL, _PRCTL, 0, 3),
            seccomp._step(seccomp._LOAD, seccomp._ARGUMENTS_AT),
            seccomp._jump(seccomp._IF_EQUAL, seccomp._PR_SET_SECCOMP, 0, 1),
            _refuse(errno.EINVAL),
        ]
    return b"".join([*program, seccomp._step(seccomp._RETURN, seccomp._ALLOW)])


def main() -> None:
    program = _filter(sys.argv[1].split(","))
    length = (ctypes.c_ushort * 4)(len(program) // 8)  # struct sock_fprog: the length, padded, and a pointer
    code = ctypes.create_string_buffer(program, len(program))
    handed_over = (ctypes.c_void_p * 2)(int.from_bytes(bytes(length), sys.byteorder), ctypes.addressof(code))
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    if library.prctl(22, 2, ctypes.byref(handed_over), 0, 0):
        sys.exit(f"no filter: {os.strerror(ctypes.get_errno())}")
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
