"""Append-only files of JSON lines (JSONL): appending survives kills, and a process reads each file once.

A process keeps what it made of such a file (`Followed`) as long as nobody else writes there: then its own appends are
all that is new. If anybody else has written, the whole file is read again. A change shows in the file's `stamp`.
After an append the file's time is set back by less than a millisecond, to a time that no clock shows: otherwise a
change within the same tick of the clock that keeps the size would not show.

What it does not protect against: anyone who can write in the vault and set the system's clock.
"""

import fcntl
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

from autoharness.core.errors import UserError
from autoharness.core.files import Stamp, has_settled, stamp

_BLOCK_BYTES = 65_536
_LESS_THAN_A_TICK_NS = 1_000_000

State = TypeVar("State")


class Followed(Generic[State]):
    """The state that this process has made of files of one kind, line by line. Nobody else may change a state."""

    def __init__(self, begin: Callable[[Path], State], take: Callable[[State, str], None]) -> None:
        """`begin`: the state of an empty file. `take`: adds a line to a state; it may raise."""
        self._begin, self._take = begin, take
        self._known: dict[Path, tuple[Stamp, State]] = {}
        self._lock = threading.Lock()  # a panel reads from another thread
        _all.append(self)

    def of(self, path: Path) -> State:
        """Raises what `take` raises."""
        with self._lock:
            status = path.stat() if path.exists() else None
            known = self._known.pop(path, None)
            if known and status and known[0] == stamp(status):
                self._known[path] = known
                return known[1]
            state = self._begin(path)
            for line in read(path):
                self._take(state, line)
            if status and has_settled(status):
                self._known[path] = stamp(status), state
            return state

    @staticmethod
    def grow(path: Path, before: Stamp, after: Stamp, line: str) -> None:
        """This process has appended a line; the file had the stamp `before`, and has `after`."""
        for one in _all:
            with one._lock:
                known = one._known.pop(path, None)
                if known and known[0] == before:
                    with suppress(UserError):  # the next reader is told
                        one._take(known[1], line)
                        one._known[path] = after, known[1]


_all: list[Followed[Any]] = []


def _count_one(counted: list[int], _: str) -> None:
    counted[0] += 1


_counts = Followed(lambda _: [0], _count_one)


@contextmanager
def alone(path: Path) -> Iterator[BinaryIO]:
    """Open and lock the file to append to it: another command may be about to append too."""
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def append(path: Path, file: BinaryIO, value: Any) -> None:
    """`file`: from `alone`. A last line that a kill cut short is removed; one without its line end stays."""
    before, begun, line = stamp(os.fstat(file.fileno())), _last(file), json.dumps(value)
    is_whole = bool(begun) and is_json(begun.decode(errors="replace"))
    if begun and not is_whole:
        file.truncate(file.seek(0, os.SEEK_END) - len(begun))
    file.write(b"\n" * is_whole + line.encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())
    status = os.fstat(file.fileno())
    no_clocks_ns = status.st_mtime_ns - 1 - secrets.randbelow(_LESS_THAN_A_TICK_NS)
    with suppress(PermissionError):  # it is another account's
        os.utime(file.fileno(), ns=(status.st_atime_ns, no_clocks_ns))
    Followed.grow(path, before, stamp(os.fstat(file.fileno())), line)


def count(path: Path) -> int:
    """How many whole lines it has."""
    return _counts.of(path)[0]


def read(path: Path) -> list[str]:
    """The whole lines; the last one counts as whole if only its line end is missing."""
    try:
        *lines, last = path.read_bytes().decode(errors="replace").split("\n")
    except FileNotFoundError:
        return []
    return [*lines, last] if is_json(last) else lines


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _last(file: BinaryIO) -> bytes:
    """What comes after the last whole line."""
    found, start = b"", file.seek(0, os.SEEK_END)
    while start and b"\n" not in found:
        size = min(start, _BLOCK_BYTES if found else 1)
        start = file.seek(start - size)
        found = file.read(size) + found
    return found.rpartition(b"\n")[2]
