"""The machine that a run is on: its operating system, Python and packages, and how many processors may be used.

Fewer processors than there are may be used under `taskset`, a batch system, or in a container:

    affinity        the processors that it may run on (sched_setaffinity)
    cgroup v2       cpu.max, of its own group and of each one above it: "200000 100000" is two processors
    cgroup v1       cpu.cfs_quota_us and cpu.cfs_period_us, likewise

A part of a processor counts as one. `os.cpu_count()` knows nothing of this, `os.process_cpu_count()` (Python 3.13)
only the first.

The system limits how many files a process may have open (`ulimit -n`). A command raises its own limit as far as it
can, and holds fewer conversations at a time if that is not enough: `max_concurrency` is a maximum.
"""

import math
import os
import platform
import resource
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from autoharness.core.errors import UserError

_MOST = 65_536
"""Enough for everything that is started here; some programs are slow with limits in the millions."""
_OF_A_PROCESS = 32
"""The files that a worker or the door has open before a conversation begins; some of them only briefly."""
_OF_A_CONVERSATION = 4
"""Its agent host's channel and output, what it said so far, and a connection to an LLM."""
_ENDING = ".dist-info"
_PROC = Path("/proc/self")

Json = dict[str, Any]


def environment() -> Json:
    """{"system": {...}, "packages": {name: version}}; nothing in it names the machine or its user."""
    return {"system": system(), "packages": installed(sys.path)}


def system() -> Json:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:  # macOS, or a container without one
        name = platform.platform()
    return {
        "os": name,
        "kernel": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
    }


def installed(folders: Iterable[str]) -> dict[str, str]:
    """The packages in these folders, by name; the first one on the path is the one that is imported.

    Read from the names of their metadata folders: importlib.metadata reads every file, for a fifth of a second.
    """
    found: dict[str, str] = {}
    for folder in folders:
        for path in sorted(Path(folder or ".").glob(f"*{_ENDING}")):
            name, _, version = path.name.removesuffix(_ENDING).partition("-")
            found.setdefault(name.replace("_", "-").lower(), version)
    return dict(sorted(found.items()))


def allowed_cpus(proc: Path = _PROC) -> int:
    """At least 1. `proc`: what the kernel says of this process."""
    try:
        cpus = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # macOS
        cpus = os.cpu_count() or 1
    return max(1, min([cpus, *(math.ceil(quota) for quota in _quotas(proc))]))


def _quotas(proc: Path) -> Iterator[float]:
    """The quotas, in processors, of the groups that this process is in, as far as it can see them."""
    try:
        groups = (proc / "cgroup").read_text().splitlines()
        mounts = [line.split(" ") for line in (proc / "mountinfo").read_text().splitlines()]
    except OSError:  # no Linux
        return
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            for folder in _folders(PurePosixPath(path), controllers, mounts):
                if (quota := _quota(folder)) is not None:
                    yield quota


def _folders(group: PurePosixPath, controllers: str, mounts: list[list[str]]) -> Iterator[Path]:
    """A group's folder and those above it, wherever its hierarchy is mounted. See proc_pid_mountinfo(5)."""
    for fields in mounts:
        root, place, (kind, _, options) = fields[3], fields[4], fields[fields.index("-") + 1 :]
        if kind != ("cgroup" if controllers else "cgroup2") or (controllers and "cpu" not in options.split(",")):
            continue
        # a container may see its own group alone, as the root of what is mounted
        below = group.relative_to(root) if group.is_relative_to(root) else PurePosixPath()
        yield from (Path(place) / part for part in (below, *below.parents))


def _quota(folder: Path) -> float | None:
    """None if there is no limit."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else None  # "max", or -1
    except (OSError, ValueError, ZeroDivisionError):
        return None


def raise_limit() -> None:
    """Raise the limit to the hard limit, for this process and for those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    with suppress(ValueError, OSError):  # macOS has a lower limit than it says
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def fitting(conversations: int, workers: int) -> int:
    """How many of these conversations this many worker processes can hold. Raises UserError if not even one."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return conversations
    room = (limit - _OF_A_PROCESS) // _OF_A_CONVERSATION
    if room < 1:
        needed = _OF_A_PROCESS + _OF_A_CONVERSATION
        raise UserError(
            f"ulimit -n: {limit} open files are allowed, and {needed} are needed: ulimit -n 4096 (ulimit -Hn, by an "
            "administrator); the same command goes on"
        )
    return min(conversations, room * workers)
