"""Errors of a machine that ran out of disk, files or processes: one line that names the cause and the fix."""

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from autoharness.core.command_form import other_owner, wrong_account
from autoharness.core.errors import UserError

_GOES_ON = "the same command goes on"
_DISK = f"make room there, and {_GOES_ON}"
_CLOSED = f"make it readable and writable for this account; {_GOES_ON}"
_FILES = f"too many open files: raise the limit (ulimit -n 4096), or lower max_concurrency; {_GOES_ON}"
_PROCESSES = "no process could be started: raise the limits (ulimit -u, memory), or lower max_concurrency"
_WAYS_OUT = {
    errno.ENOSPC: f"the disk is full: {_DISK}",
    errno.EDQUOT: f"the disk is full, or your share of it (quota): {_DISK}",
    errno.EFBIG: f"larger than files may be: raise the limit (ulimit -f); {_GOES_ON}",
    errno.EROFS: f"the disk is read-only: {_CLOSED}",
    errno.EACCES: f"Permission denied: {_CLOSED}",
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), _FILES),
    **dict.fromkeys((errno.EAGAIN, errno.ENOMEM), _PROCESSES),
    errno.EIO: f"the terminal or the disk does not answer; {_GOES_ON}",
}
_OF_A_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
_LEAST_FREE_BYTES = 128 * 1024
"""With less than this a disk counts as full: a larger write may just have failed."""
_MEGABYTE = 1024 * 1024


def line_of(error: OSError, places: Iterable[Path] = ()) -> str:
    """What the user has to fix, and how; "" if that is not known.

    `places`: where something may have been written, for an error that names no file.
    """
    if isinstance(error, FileNotFoundError) and "temporary directory" in (error.strerror or ""):  # of `tempfile`
        return f"{error.strerror}: make room in one of them, or set TMPDIR to another; {_GOES_ON}"
    way_out = _WAYS_OUT.get(error.errno or 0, "")
    if error.errno in (errno.EACCES, errno.EPERM) and (owner := _owner(error)):
        way_out = f"{error.strerror}: {owner}"
    if error.filename:
        return f"{error.filename}: {way_out or error.strerror}"
    if error.errno == errno.ENOSPC and (full := full_of(places)):
        return full
    return way_out


def _owner(error: OSError) -> str:
    return wrong_account() or other_owner(Path(os.fsdecode(error.filename or ".")))


def full_of(places: Iterable[Path]) -> str:
    """As `line_of`, for the first of these folders whose disk is full; "" if none is."""
    return next((f"{_described(place)}: {_WAYS_OUT[errno.ENOSPC]}" for place in places if _is_full(place)), "")


def is_of_a_disk(error: OSError) -> bool:
    """Whether a disk accepts no more data: full, read-only, or limited for this account."""
    return error.errno in _OF_A_DISK


def mended_by_a_person(error: OSError, path: Path) -> UserError:
    """A full disk is not a failed try: the command ends, and the same command continues once there is room."""
    return UserError(line_of(OSError(error.errno, error.strerror, str(path))))


def _described(place: Path) -> str:
    status = os.statvfs(place)
    free, size = (part * status.f_frsize / _MEGABYTE for part in (status.f_bavail, status.f_blocks))
    return f"{place} ({free:.1f} of {size:.0f} MB free)"


def _is_full(place: Path) -> bool:
    with suppress(OSError):
        status = os.statvfs(place)
        return status.f_bavail * status.f_frsize < _LEAST_FREE_BYTES or (status.f_files > 0 and not status.f_favail)
    return False
