"""Safe reading and atomic writing of files: write beside, then rename; below a root, follow no symbolic link.

A coding agent may have written in `agent/` and `workspace/`: a symbolic link there could lead to the vault, or to any
file that this account can write. So every part of a path below its root is opened by a descriptor, and none may be a
link. A file that is read must be a plain file with a single name (no hard links). A file that is written replaces
whatever has its name.

    a relative path    its root is the checkout, the working folder
    an absolute path   its root is its own folder, unless another one is given

Locks are the kernel's (flock): it releases them when their process ends, however that happens.

What it does not protect against: links above the root, and a file that is not a link but holds what it should not.
"""

import errno
import fcntl
import json
import os
import secrets
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

from autoharness.core.errors import NotPlain, UserError

PACKAGE_ROOT = Path(__file__).resolve().parents[1]
"""The folder of this package."""
_MOST_AGENT_BYTES = 1_000_000
MOST_TEXT_BYTES = 64_000_000
_Made = TypeVar("_Made")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NO_FOLDER = (errno.ELOOP, errno.ENOTDIR)
"""The kernel's errors for a link, and for something that is not a folder."""


Stamp = tuple[int, ...]
_SETTLED_NS = 50_000_000
"""A file system's clock ticks every few milliseconds: two changes may come within one tick."""


def stamp(status: os.stat_result) -> Stamp:
    """Identifies a state of a file: if the stamp is the same, so is the file."""
    return status.st_dev, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def has_settled(status: os.stat_result) -> bool:
    """Whether a change from now on would show in the file's `stamp`, even one that keeps its size."""
    return max(status.st_mtime_ns, status.st_ctime_ns) + _SETTLED_NS < time.time_ns()


class Remembered(Generic[_Made]):
    """A cache of what was made of files, each kept until the file changes."""

    def __init__(self, make: Callable[[Path], _Made]) -> None:
        self._make = make
        self._known: dict[Path, tuple[Stamp, _Made]] = {}

    def of(self, path: Path) -> _Made:
        """Raises OSError, and what `make` raises."""
        status, known = path.stat(), self._known.get(path)
        if known and known[0] == stamp(status):
            return known[1]
        made = self._make(path)
        if has_settled(status):
            self._known[path] = stamp(status), made
        return made


def read_plain(path: Path, most_bytes: int = _MOST_AGENT_BYTES, root: Path | None = None) -> bytes:
    """Raises FileNotFoundError, OSError, UserError for a link on the way, NotPlain for anything but a plain file."""
    with _plain(path, os.O_RDONLY, most_bytes, root) as descriptor, open(descriptor, "rb", closefd=False) as file:
        return file.read(most_bytes)


def read_end(path: Path, most_bytes: int, root: Path | None = None) -> bytes:
    """The last `most_bytes` of a file, or all of it. Raises as `read_plain` does."""
    with _plain(path, os.O_RDONLY, MOST_TEXT_BYTES, root) as descriptor:
        start = max(0, os.fstat(descriptor).st_size - most_bytes)
        return os.pread(descriptor, most_bytes, start)


def read_text(path: Path, root: Path | None = None) -> str:
    """A text that anybody may have written; "" if there is none. Raises UserError if it is not a plain file."""
    try:
        return read_plain(path, MOST_TEXT_BYTES, root).decode(errors="replace")
    except FileNotFoundError:
        return ""


def append_text(path: Path, text: str, root: Path | None = None) -> None:
    """Append to an existing text file; a kill may cut the text short. Raises as `read_plain` does."""
    try:
        with _plain(path, os.O_WRONLY | os.O_APPEND, MOST_TEXT_BYTES, root) as descriptor:
            with open(descriptor, "ab", closefd=False) as file:
                file.write(text.encode())
            os.fsync(descriptor)
    except PermissionError:  # somebody changed its mode: a new file replaces it
        write_text(path, read_text(path, root) + text, root)


def write_json(path: Path, value: Any, root: Path | None = None) -> None:
    write_text(path, json.dumps(value, indent=1), root)


def begin_json(path: Path, value: Any) -> None:
    """Create a JSON file. Raises FileExistsError if it exists: of several writers at once one wins."""
    with replacing(path, only_new=True) as file:
        file.write(json.dumps(value, indent=1).encode())


def write_text(path: Path, text: str, root: Path | None = None) -> None:
    """Write beside, then rename: a reader sees the old file or the new one, whenever we are killed."""
    write_bytes(path, text.encode(), root)


def write_bytes(path: Path, content: bytes, root: Path | None = None) -> None:
    with replacing(path, root) as file:
        file.write(content)


@contextmanager
def replacing(path: Path, root: Path | None = None, only_new: bool = False) -> Iterator[BinaryIO]:
    """Open a file to write; it replaces `path` once the block has ended without an error.

    `only_new`: raise FileExistsError if `path` exists.
    """
    with _folder_of(path, root, make=True) as folder:
        beside = f".{path.name[:40]}.{secrets.token_hex(8)}"
        try:
            descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
            with os.fdopen(descriptor, "w+b") as file:
                os.fchmod(descriptor, 0o644)
                yield file
                file.flush()
                os.fsync(file.fileno())
            if only_new:
                _rename_if_new(beside, path.name, folder)
            else:
                os.replace(beside, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException as error:
            with suppress(OSError):
                os.unlink(beside, dir_fd=folder)
            if isinstance(error, OSError) and error.filename in (None, beside):  # the user does not know that name
                raise OSError(error.errno, error.strerror, str(path)) from error
            raise


def _rename_if_new(name: str, new: str, folder: int) -> None:
    """Raises FileExistsError if `new` exists: of several writers at once one wins."""
    try:
        os.link(name, new, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # this file system has no hard links
        fcntl.flock(folder, fcntl.LOCK_EX)  # until `folder` is closed
        if os.access(new, os.F_OK, dir_fd=folder):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        os.replace(name, new, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """What differs between two states of a set of files: "new", "missing" or "changed", by name.

    `before`, `now`: something that identifies each file's content, by its name.
    """
    return {
        name: "new" if name not in before else "missing" if name not in now else "changed"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    }


def set_aside(path: Path, root: Path | None = None) -> Path:
    """Rename a file, or the link in its place, to a free name: a.tsv to a.edited.tsv. Returns the new path."""
    with _folder_of(path, root) as folder:
        with os.scandir(folder) as entries:
            taken = {entry.name for entry in entries}
        aside, number = path.with_suffix(f".edited{path.suffix}"), 1
        while aside.name in taken:
            number += 1
            aside = path.with_suffix(f".edited{number}{path.suffix}")
        os.rename(path.name, aside.name, src_dir_fd=folder, dst_dir_fd=folder)
    return aside


def remove_tree(folder: Path) -> None:
    """Remove a folder that untrusted code wrote in; if a link is in its place, remove only the link."""
    if folder.is_symlink():
        folder.unlink()
        return
    with suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():  # nested deeper than Python follows, or without permission for us
        subprocess.run(["/bin/chmod", "-R", "u+rwX", "--", str(folder)], check=False)
        subprocess.run(["/bin/rm", "-rf", "--", str(folder)], check=False)


def remove_others(folder: Path, kept: Collection[str], root: Path) -> None:
    """Remove the folders in it that are not to be kept, and follow no link. Raises UserError as `write_text` does."""
    with suppress(FileNotFoundError), _folder_of(folder / "entry", root) as opened:
        with os.scandir(opened) as entries:
            others = {entry.name for entry in entries} - set(kept)
        for name in others:
            shutil.rmtree(name, ignore_errors=True, dir_fd=opened)


@contextmanager
def _plain(path: Path, flags: int, most_bytes: int, root: Path | None) -> Iterator[int]:
    """A descriptor of a plain file below its root. Raises as `read_plain` does."""
    with _folder_of(path, root) as folder:
        try:
            descriptor = os.open(path.name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENXIO):  # a link, a socket
                raise OSError(error.errno, error.strerror, str(path)) from None
            raise _not_plain(path, most_bytes) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or status.st_size > most_bytes:
            raise _not_plain(path, most_bytes)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _folder_of(path: Path, root: Path | None, make: bool = False) -> Iterator[int]:
    """A descriptor of the folder that `path` lies in. Raises UserError if a part below the root is a link or `..`."""
    if ".." in path.parts:
        raise UserError(f"{path}: a path below its root has no '..'")
    root = root if root is not None else path.parent if path.is_absolute() else Path()
    if make:
        root.mkdir(parents=True, exist_ok=True)
    folder, reached = os.open(root, os.O_RDONLY | os.O_DIRECTORY), root
    try:
        for part in path.parent.relative_to(root).parts:
            reached /= part
            outer, folder = folder, _inner(folder, reached, make)
            os.close(outer)
        yield folder
    finally:
        os.close(folder)


def _inner(folder: int, path: Path, make: bool) -> int:
    """A descriptor of a folder in another one."""
    try:
        if make:
            with suppress(FileExistsError):
                os.mkdir(path.name, dir_fd=folder)
        return os.open(path.name, _FOLDER, dir_fd=folder)
    except OSError as error:
        if error.errno in _NO_FOLDER:
            raise UserError(f"{path} is a symbolic link, or no folder: put a folder of its own there") from None
        raise OSError(error.errno, error.strerror, str(path)) from None


def _not_plain(path: Path, most_bytes: int) -> NotPlain:
    most = f"{most_bytes // 1_000_000} MB"
    return NotPlain(
        f"{path} is a symbolic link, a hard link, a pipe, a device or over {most}: put a plain file of its own there"
    )


def is_locked(path: Path) -> bool:
    """Whether another process has locked the file or folder; False if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder; waits until no other process has locked it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
