"""Who holds a lock of the vault, as a text in its file: for the message of a command that finds it taken.

The lock is the kernel's; this text decides nothing. A client of `docker compose run` that is killed leaves its
container at work, and `docker compose ps` does not show it: the message names it.
"""

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from autoharness.core.command_form import ending, in_compose

_MOST_CHARS = 4000


@contextmanager
def noted(file: TextIO) -> Iterator[None]:
    """This process is in the file of the lock that it holds, until the block ends."""
    known = {
        "command": Path(sys.argv[0]).name,
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "end": ending(),
    }
    _write(file, json.dumps(known))
    try:
        yield
    finally:
        _write(file, "")


def holder(file: TextIO) -> str:
    """Who holds it, and what ends that command; "" if an earlier version holds it."""
    file.seek(0)
    try:
        known = json.loads(file.read(_MOST_CHARS))
        elsewhere = "" if in_compose() or known["host"] == socket.gethostname() else f" on {known['host']}"
        is_here, pid = known["host"] == socket.gethostname(), known["end"].rpartition(" ")[2]
        if is_here and pid.isdecimal() and not Path("/proc", pid).exists():
            return ""  # what a killed command has left, and another one holds the lock
        return f" ({known['command']} since {known['since']}; to end it: {known['end']}{elsewhere})"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""


def _write(file: TextIO, text: str) -> None:
    with suppress(OSError):  # a full disk
        file.truncate(0)
        file.write(text)
        file.flush()
