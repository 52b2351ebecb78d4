"""The machine that a run is on: its operating system, Python and packages, and how many processors may be used.

Fewer processors than there are may be used under `taskset`, a batch system, or in a container:

    affinity        the processors that it may run on (sched_setaffinity)
    cgroup v2       cpu.max, of its own group and of each one above it: "200000 100000" is two processors
    cgroup v1       cpu.cfs_quota_us and cpu.cfs_period_us, likewise

A part of a processor counts as one. `os.cpu_count()` knows nothing of this, `os.process_cpu_count()` (Python 3.13)
only the first.
"""

import math
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

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
    return max(1, min([_of_affinity(), *(math.ceil(quota) for quota in _quotas(proc))]))


def _of_affinity() -> int:
    with suppress(AttributeError, OSError):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
