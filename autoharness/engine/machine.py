"""What a run was made on, kept beside it: operating system, kernel, processors, Python, every installed package."""

import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_ENDING = ".dist-info"

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
    """The packages in these folders, by name; what stands first on the path is what is imported.

    From the names of their metadata folders: importlib.metadata reads every file of them, for a fifth of a second.
    """
    found: dict[str, str] = {}
    for folder in folders:
        for path in sorted(Path(folder or ".").glob(f"*{_ENDING}")):
            name, _, version = path.name.removesuffix(_ENDING).partition("-")
            found.setdefault(name.replace("_", "-").lower(), version)
    return dict(sorted(found.items()))
