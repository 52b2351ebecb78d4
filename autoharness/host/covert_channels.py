"""Takes away what reading leaves behind, so that one program cannot tell another what it read.

Agent hosts and coding agents read the same libraries. An agent host hears held-out conversations; a coding agent
writes what comes next. Between the two stand three traces of reading:

- times of access, which everybody may ask for. The kernel renews one once a day (`relatime`), or after a change: what
  was read just now tells nothing for a day. Links have them too, wherever they lie: following one is reading it.
- what of a file is in memory: that is read faster. So all of it is read again before a coding agent starts.
- which names were looked up, whether there is such a file or not: that is faster the second time, for everybody. Only
  root can have the kernel forget it.

What it does not take away: what is measured while an agent host is alive; the times of links in `/proc` of processes
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
"""How long the kernel leaves a time of access as it is (`relatime`)."""
_LEAST_LEFT_NS = 6 * _HOUR_NS
"""... and how much of that has to be left, for what runs until the next call."""
_LINKS_BELOW = ("/bin", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/opt", "/sbin", "/sys", "/usr")
_LINKS_IN = ("/", "/run", "/var")
_LINKS_OF_A_PROCESS = ("cwd", "exe", "root")
_TICK_S = 0.02
"""The kernel's clock for times of files is no finer than that."""
_DROP_CACHES = Path("/proc/sys/vm/drop_caches")
_NAMES = b"2\n"
"""The kernel's word for those, and for what else it knows of files that nobody uses; not for what is in them."""
_BUFFERS = [bytearray(1 << 18)]

STRICT = "access times below {} change with every read: an agent host can leave a bit in each file: mount it relatime"
LOOKED_UP = "which names an agent host looked up shows in how fast they are found: only root can clear that"
AGING = "some system files get a new access time within hours, since others own them: a bit in each for an agent host"


def settle(private: Iterable[str], listed: Iterable[str] = (), written: Iterable[str] = ()) -> list[str]:
    """Read all that agent hosts can read, and follow the links that they could; returns what stays open, in lines.

    `private`: what no agent host may read. `listed`: further folders that a coding agent can list; `written`: those
    that it can write, and that stay. Call it before agent hosts run, and again before a coding agent starts. A time
    of access that the kernel would renew soon is set, if this account may do that.
    """
    forgotten, now_ns = _forget_names(), time.time_ns()
    aging, samples = False, {}
    for path in (*_readable(private), *_links(tuple(listed)), *_links_below(written), *_links_in_proc()):
        try:
            before = os.lstat(path)
            _read(path, before.st_mode)
            aging |= not _stands_still(path, before, os.lstat(path), now_ns)
        except OSError:  # it is gone, or not for this account, nor for an agent host
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
    """Whether the time of access stays as it is from here on. If it would not, it is set, so that it does."""
    changed_ns = max(after.st_mtime_ns, after.st_ctime_ns)
    if after.st_atime_ns > changed_ns and now_ns - after.st_atime_ns < _KEPT_FOR_NS - _LEAST_LEFT_NS:
        return True
    was_due = before.st_atime_ns <= changed_ns or now_ns - before.st_atime_ns >= _KEPT_FOR_NS
    if was_due and before.st_atime_ns == after.st_atime_ns:
        return True  # it has none that changes (`noatime`)
    ahead_ns = max(now_ns, after.st_mtime_ns) + _SECOND_NS  # it has to lie after the change that this is
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
    """Those that lie below no other."""
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
        except OSError:  # it is a file, or not for this account
            continue


@functools.cache
def _links(listed: tuple[str, ...]) -> list[str]:
    """The links that the system has in its folders, and those below `listed`: looked for once."""
    beside = [entry.path for folder in _LINKS_IN for entry in _listed(folder) if entry.is_symlink()]
    folders = {os.path.realpath(path) for path in (*_LINKS_BELOW, *listed)} - {"/proc"}
    return [*_links_below(folders), *beside]


def _links_below(folders: Iterable[str]) -> Iterator[str]:
    return (entry.path for folder in _topmost(folders) for entry in _below(folder) if entry.is_symlink())


def _links_in_proc() -> Iterator[str]:
    """Of the processes that are there, their threads too."""
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
    """Whether one more read changes the time of access."""
    time.sleep(_TICK_S)
    before = os.lstat(path)
    _read(path, before.st_mode)
    return os.lstat(path).st_atime_ns != before.st_atime_ns


def _mount_of(path: str) -> str:
    return next(str(folder) for folder in Path(path).parents if os.path.ismount(folder))
