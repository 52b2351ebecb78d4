"""Closes covert channels between agent hosts and coding agents: removes the traces that reading files leaves.

Agent hosts and coding agents read the same libraries. An agent host hears held-out conversations; a coding agent
writes what comes next. Reading leaves three traces that could pass from one to the other:

- access times, which everybody may ask for. The kernel renews one once a day (`relatime`), or after a change: a file
  that was read just now tells nothing for a day. Links have them too, wherever they are: following one is reading it.
- which parts of a file are in memory: those are read faster. So the whole file is read again before a coding agent
  starts.
- which names were looked up, whether or not there is such a file: that is faster the second time, for everybody. Only
  root can make the kernel forget it.

What it does not remove: what is measured while an agent host is alive; the times of links in `/proc` of processes
that began since; whether the folder of a file that hosts cannot read is in memory; and what `settle` returns.
"""

import functools
import os
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from autoharness.core.files import PACKAGE_ROOT
from autoharness.host import landlock
from autoharness.host.sandbox import library_rules

_SECOND_NS = 10**9
_HOUR_NS = 3600 * _SECOND_NS
_KEPT_FOR_NS = 24 * _HOUR_NS
"""How long the kernel leaves an access time unchanged (`relatime`)."""
_LEAST_LEFT_NS = 6 * _HOUR_NS
"""... and how much of that must be left, for what runs until the next call."""
_LINKS_BELOW = ("/bin", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/opt", "/sbin", "/sys", "/usr")
_LINKS_IN = ("/", "/run", "/var")
_LINKS_OF_A_PROCESS = ("cwd", "exe", "root")
_TICK_S = 0.02
"""The kernel's clock for file times is no finer than this."""
_DROP_CACHES = Path("/proc/sys/vm/drop_caches")
_NAMES = b"2\n"
"""Makes the kernel drop cached names, and what else it knows of unused files; not their contents."""
_BUFFERS = [bytearray(1 << 18)]

STRICT = "access times below {} change with every read: an agent host can leave a bit in each file: mount it relatime"
LOOKED_UP = "which names an agent host looked up shows in how fast they are found: only root can clear that"
AGING = "some system files get a new access time within hours, since others own them: a bit in each for an agent host"


def settle(private: Iterable[str], listed: Iterable[str] = (), written: Iterable[str] = ()) -> list[str]:
    """Read all that agent hosts can read, and follow the links that they could; returns what stays open, in lines.

    `private`: what no agent host may read. `listed`: further folders that a coding agent can list; `written`: folders
    that it can write, and that stay. Call it before agent hosts run, and again before a coding agent starts. It sets
    an access time that the kernel would renew soon, if this account may do that.
    """
    forgotten, now_ns = _forget_names(), time.time_ns()
    aging, samples = False, {}
    for path in (*_readable(private), *_links(tuple(listed)), *_links_below(written), *_links_in_proc()):
        try:
            before = os.lstat(path)
            _read(path, before.st_mode)
            aging |= not _stands_still(path, before, os.lstat(path), now_ns)
        except OSError:  # it is gone, or neither this account nor an agent host may read it
            continue
        if stat.S_ISREG(before.st_mode):
            samples[before.st_dev] = path
    strict = [_mount_of(path) for path in samples.values() if _changes(path)]
    lines = [STRICT.format(mount) for mount in sorted(strict)]
    return lines + [AGING] * aging + [LOOKED_UP] * (not forgotten)


def _forget_names() -> bool:
    """Whether the kernel has forgotten which names were looked up."""
    try:
        _DROP_CACHES.write_bytes(_NAMES)
    except OSError:
        return False
    return True


def _stands_still(path: str, before: os.stat_result, after: os.stat_result, now_ns: int) -> bool:
    """Whether the access time stays unchanged from here on. If it would change, it is set, so that it stays."""
    changed_ns = max(after.st_mtime_ns, after.st_ctime_ns)
    if after.st_atime_ns > changed_ns and now_ns - after.st_atime_ns < _KEPT_FOR_NS - _LEAST_LEFT_NS:
        return True
    was_due = before.st_atime_ns <= changed_ns or now_ns - before.st_atime_ns >= _KEPT_FOR_NS
    if was_due and before.st_atime_ns == after.st_atime_ns:
        return True  # its access time never changes (`noatime`)
    ahead_ns = max(now_ns, after.st_mtime_ns) + _SECOND_NS  # it must lie after this change
    try:
        os.utime(path, ns=(ahead_ns, after.st_mtime_ns), follow_symlinks=False)
    except OSError:
        return False
    return True


def _read(path: str, mode: int) -> None:
    if stat.S_ISLNK(mode):
        Path(path).readlink()
    elif stat.S_ISDIR(mode):
        for _ in os.scandir(path):
            pass
    elif stat.S_ISREG(mode):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            while os.readv(descriptor, _BUFFERS) == len(_BUFFERS[0]):
                pass
        finally:
            os.close(descriptor)


def _readable(private: Iterable[str]) -> Iterator[str]:
    """Every file, folder and link that an agent host may read, whatever it runs."""
    rules = {os.path.realpath(path): rights for path, rights in library_rules(private)}
    yield from (path for path, rights in rules.items() if rights == landlock.LIST)
    whole = [path for path, rights in rules.items() if rights != landlock.LIST]
    for path in _topmost([*whole, str(PACKAGE_ROOT)]):
        yield path
        yield from (entry.path for entry in _below(path))


def _topmost(paths: Iterable[str]) -> Iterator[str]:
    """The paths that lie below no other path."""
    last = "\0"
    for path in sorted(set(paths), key=lambda path: path.split("/")):
        if not path.startswith(last + "/"):
            yield path
            last = path


def _below(folder: str) -> Iterator["os.DirEntry[str]"]:
    folders = [folder]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    yield entry
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        except OSError:  # it is a file, or this account may not read it
            continue


@functools.cache
def _links(listed: tuple[str, ...]) -> list[str]:
    """The links in the system's folders and those below `listed`; searched for once."""
    beside = [entry.path for folder in _LINKS_IN for entry in _listed(folder) if entry.is_symlink()]
    folders = {os.path.realpath(path) for path in (*_LINKS_BELOW, *listed)} - {"/proc"}
    return [*_links_below(folders), *beside]


def _links_below(folders: Iterable[str]) -> Iterator[str]:
    return (entry.path for folder in _topmost(folders) for entry in _below(folder) if entry.is_symlink())


def _links_in_proc() -> Iterator[str]:
    """The links of all processes and their threads."""
    processes = [entry.path for entry in _listed("/proc") if entry.name.isdecimal()]
    threads = [entry.path for process in processes for entry in _listed(f"{process}/task")]
    for folder in processes + threads:
        yield from (f"{folder}/{name}" for name in _LINKS_OF_A_PROCESS)
        yield from (entry.path for entry in _listed(f"{folder}/ns"))


def _listed(folder: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _changes(path: str) -> bool:
    """Whether one more read changes the access time."""
    time.sleep(_TICK_S)
    before = os.lstat(path)
    _read(path, before.st_mode)
    return os.lstat(path).st_atime_ns != before.st_atime_ns


def _mount_of(path: str) -> str:
    return next(str(folder) for folder in Path(path).parents if os.path.ismount(folder))
