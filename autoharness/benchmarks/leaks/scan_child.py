"""Scans one edit in a separate process. Spawned by `scan_process.py`, never imported.

    python -I -B scan_child.py

In, on stdin:    {"scan": {"before", "after", "baseline", "secrets"}} or {"problem": {"source", "incumbent"}}
Out, on stdout:  {"scan": [[line, text, what], ...]} or {"problem": text}
"""

import json
import resource
import sys
from dataclasses import astuple
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.pycache_prefix = __file__  # as in a door
    sys.path.insert(0, str(Path(__file__).parents[3]))
    import autoharness

    del sys.path[0]
    autoharness.begin()

from autoharness.benchmarks.leaks.forbidden_uses import problem_of
from autoharness.benchmarks.leaks.leak_scan import scan
from autoharness.benchmarks.leaks.records import Secrets

_MOST_CPU_S = 60
_MOST_MEMORY_BYTES = 2 << 30


def answer(question: dict[str, Any]) -> dict[str, Any]:
    if "problem" in question:
        return {"problem": problem_of(**question["problem"])}
    asked = question["scan"]
    secrets = Secrets.from_json(asked["secrets"])
    return {"scan": [astuple(one) for one in scan(asked["before"], asked["after"], secrets, asked["baseline"])]}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (_MOST_CPU_S, _MOST_CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # macOS does not hold it
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY_BYTES, _MOST_MEMORY_BYTES))
    json.dump(answer(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
