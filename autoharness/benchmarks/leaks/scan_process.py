"""Runs the leak scan of an edit in a separate process, without keys, and with little time and memory.

A file that breaks Python's parser, or keeps the scan busy, ends that process, and the edit is refused for it; the
loop continues. If the scan also breaks on the kept version, it is not the edit's fault: that is raised. It does not
run what it reads, so it is not confined further.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from autoharness.benchmarks.leaks.leak_scan import Leak
from autoharness.benchmarks.leaks.records import Secrets
from autoharness.core.errors import SetupError

_CHILD = Path(__file__).with_name("scan_child.py")
_LONGEST_S = 300.0
"""For a busy machine; of processor time the scan has a minute."""
_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_BREAKS = "this file breaks the scan of edits ({}): write it more simply"

Json = dict[str, Any]


def scan(before: str, after: str, secrets: Secrets, baseline: str) -> list[Leak]:
    """See `leak_scan.scan`. Raises SetupError if no edit can be scanned."""
    asked: Json = {"before": before, "after": after, "baseline": baseline, "secrets": secrets.to_json()}
    answer = _ask({"scan": asked}, {"scan": asked | {"after": before}})
    if isinstance(answer, str):
        return [Leak(1, "", f"begins what cannot be looked through: {answer}")]
    return [Leak(*one) for one in answer["scan"]]


def problem_of(source: str, incumbent: str) -> str:
    """See `forbidden_uses.problem_of`. Raises SetupError if no file can be scanned."""
    asked = {"source": source, "incumbent": incumbent}
    answer = _ask({"problem": asked}, {"problem": asked | {"source": incumbent}})
    return answer if isinstance(answer, str) else str(answer["problem"])


def _ask(question: Json, of_what_is_kept: Json) -> Json | str:
    """The answer, or what the file does to the scan."""
    answer = _answer(question)
    if isinstance(answer, str):
        control = _answer(of_what_is_kept)
        if isinstance(control, str):
            raise SetupError(f"edits cannot be scanned here: {control}")
        return _BREAKS.format(answer)
    return answer


def _answer(question: Json) -> Json | str:
    """The answer, or why there is none."""
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-B", str(_CHILD)],
            input=json.dumps(question).encode(),
            capture_output=True,
            env=environment,
            timeout=_LONGEST_S,
        )
        answer: Json = json.loads(done.stdout)
        return answer
    except subprocess.TimeoutExpired:
        return f"it takes more than {_LONGEST_S:g} s"
    except OSError as error:
        return f"it does not start: {error}"
    except ValueError:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return f"it ends with {done.returncode}" + "".join(f", {line[:200]}" for line in last)
