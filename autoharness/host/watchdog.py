"""Watches one agent host from outside, for what the kernel does not limit: threads, processor time, memory, disk.

It reads Linux's /proc; elsewhere it sees nothing and never complains. It does not see what a host does between two
checks: a burst of a quarter of a second.
"""

import os
import stat
from pathlib import Path

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_BLOCK_BYTES = 512
_MEGABYTE = 1024 * 1024

_MOST_THREADS = 1000
_MOST_DISK_MB = 256
_MOST_ENTRIES = 10_000
_MOST_HIDDEN_FILES = 16
"""Files that are deleted and closed, but mapped: their size shows nowhere. The sandbox limits each to 16 MB."""
_FREE_CPU_S = 10.0
_CPU_S_FOR_A_REQUEST = 0.1
"""Parsing a message takes some 2 ms, and does not count as the agent's own time."""


class Watchdog:
    """Checks the process `pid`, which may write `scratch`."""

    INTERVAL_S = 0.25

    def __init__(self, pid: int, scratch: Path, memory_mb: int) -> None:
        self._process = Path(f"/proc/{pid}")
        self._scratch = scratch.resolve()
        self._memory_mb = memory_mb
        self._seen_cpu_s = -1.0
        self._was_idle = False

    def complaint(self, own_code_s: float, requests: int) -> str:
        """What the process uses too much of, in words; "" if nothing.

        `own_code_s`: how long the agent's code has run so far, over all calls. `requests`: calls and chat
        completions so far.
        """
        try:
            fields = (self._process / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return ""  # it has ended, or this is not Linux
        cpu_s, threads = sum(map(int, fields[11:15])) / _CLOCK_TICKS, int(fields[17])
        memory_mb = int(fields[21]) * _PAGE_BYTES / _MEGABYTE
        allowed_cpu_s = _FREE_CPU_S + _CPU_S_FOR_A_REQUEST * requests + own_code_s * (os.cpu_count() or 1)
        if fields[0] == "Z" and threads > 1:  # the first thread has ended alone: no descriptor is shown any more
            return "hides from its watch"
        if threads > _MOST_THREADS:
            return f"runs over {_MOST_THREADS} threads"
        if cpu_s > allowed_cpu_s:
            return f"used {cpu_s:.0f} s of processor time, far more than it was asked for"
        if memory_mb > self._memory_mb:
            return f"uses over {self._memory_mb} MB of memory (agent_memory_mb)"
        idle, self._seen_cpu_s = cpu_s == self._seen_cpu_s, cpu_s
        looked_since, self._was_idle = self._was_idle, idle
        return "" if idle and looked_since else self._files_complaint()  # without a processor it writes nothing

    def _files_complaint(self) -> str:
        try:
            hidden = _mapped_and_deleted(self._scratch, self._process / "maps")
            if hidden > _MOST_HIDDEN_FILES:
                return f"keeps over {_MOST_HIDDEN_FILES} deleted files mapped"
            return _used(self._scratch, self._process / "fd")
        except (FileNotFoundError, ProcessLookupError):
            return ""
        except PermissionError:
            return "hides from its watch"


def _mapped_and_deleted(scratch: Path, maps: Path) -> int:
    """How many deleted files from the scratch folder the process has mapped."""
    with maps.open(errors="replace") as lines:
        ours = (line.split(maxsplit=5) for line in lines if f" {scratch}/" in line and line.endswith("(deleted)\n"))
        return len({inode for _, _, _, _, inode, _ in ours})


def _used(scratch: Path, descriptors: Path) -> str:
    """The complaint about files: those in the scratch folder, and those that are deleted and still open."""
    bytes_used = entries = 0
    for entry in os.scandir(descriptors):
        try:
            file = entry.stat()
        except FileNotFoundError:
            continue  # closed meanwhile
        if stat.S_ISREG(file.st_mode) and not file.st_nlink:
            bytes_used += file.st_blocks * _BLOCK_BYTES
    folders = [str(scratch)]
    while folders:
        try:
            for entry in os.scandir(folders.pop()):
                entries += 1
                bytes_used += _bytes_of(entry)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                if entries > _MOST_ENTRIES:
                    return f"wrote over {_MOST_ENTRIES} files and folders"
        except FileNotFoundError:
            continue  # the folder was removed meanwhile
        except OSError as error:  # a path too long to follow
            return f"wrote folders that cannot be followed ({error.strerror})"
    return f"wrote over {_MOST_DISK_MB} MB" if bytes_used > _MOST_DISK_MB * _MEGABYTE else ""


def _bytes_of(entry: os.DirEntry[str]) -> int:
    """Bytes on the disk; 0 if it was removed or renamed meanwhile: what lies beside it must still be counted."""
    try:
        return entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
    except FileNotFoundError:
        return 0
