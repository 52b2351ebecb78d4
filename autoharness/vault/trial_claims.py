"""Claims on running trials, so that no two commands on this machine pay for the same trial.

A claim is a lock on one byte of a file of the vault, at a place that the trial's key gives. The kernel releases it
when its process ends, however that happens. If the file system has no such locks, every claim succeeds.
"""

import fcntl
import os
from pathlib import Path

_descriptors: dict[Path, int] = {}
"""By file. Opened once and never closed: closing any descriptor of a file releases all locks of the process."""


class Claims:
    """The claims of one run. Use as a context manager: leaving it releases what was not released before."""

    def __init__(self, file: Path) -> None:
        if file not in _descriptors:
            _descriptors[file] = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._descriptor = _descriptors[file]
        self._mine: set[str] = set()

    def __enter__(self) -> "Claims":
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._mine):
            self.release(name)

    def take(self, name: str) -> bool:
        """Whether the trial with this name, a hexadecimal digest, is ours now; False while another process has it."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(name))
        except (BlockingIOError, PermissionError):
            return False
        except OSError:  # no locks here
            return True
        self._mine.add(name)
        return True

    def release(self, name: str) -> None:
        if name in self._mine:
            self._mine.discard(name)
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, _place(name))


def _place(name: str) -> int:
    return int(name[:15], 16)
