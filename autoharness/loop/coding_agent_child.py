"""Runs one coding agent: confines it, ends it and all that it started. Spawned by `coding_agent.py`, never imported.

    python -I -B coding_agent_child.py DESCRIPTOR

In, on stdin:   {"command", "folder", "environment", "prompt": a file or "", "rules" and "ports": what
                `landlock.restrict` takes, "landlock_abi": its version to use, "network": whether the agent has one}
                stdin stays open as long as the agent may run: if it closes, the process that started this is gone
Out, on the descriptor:  {"unconfined": why it was not started}, or
                {"exit_code", "left_behind": how many processes}

What the agent starts stays below this process, however often it forks: orphans come to a subreaper, not to init.
"""

import ctypes
import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parents[1]
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_GRACE_S = 1.0
"""For helpers of the agent that end by themselves a moment after it."""
_LARGEST_FILE_BYTES = 1 << 30


def _load(name: str, path: Path) -> None:
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=[str(path.parent)])
    assert spec and spec.loader
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


_prefix, sys.pycache_prefix = sys.pycache_prefix, __file__  # no folder: `import_finder` comes from its source too
_load("autoharness", _PACKAGE / "__init__.py")
sys.pycache_prefix = _prefix

from autoharness.core.errors import LayerMissing, TooManyLayers  # noqa: E402
from autoharness.host import landlock, sandbox, seccomp  # noqa: E402  (found through the package loaded above)


def main() -> None:
    setup = json.loads(_first_line())
    report = os.fdopen(int(sys.argv[1]), "w")
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with open(setup["prompt"] or os.devnull, "rb") as prompt:  # noqa: PTH123
        agent = subprocess.Popen(
            setup["command"],
            cwd=setup["folder"],
            env=setup["environment"],
            stdin=prompt,
            start_new_session=True,
            preexec_fn=lambda: _confine(setup, report.fileno()),
        )
    threading.Thread(target=_end_with_stdin, args=(agent,), daemon=True).start()
    code = agent.wait()
    left_behind = _end_the_rest()
    report.write(json.dumps({"exit_code": code, "left_behind": left_behind}))


def _first_line() -> bytes:
    """Byte by byte: what follows is for the thread that waits for the end."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    return line


def _confine(setup: dict[str, Any], report: int) -> None:
    """Runs in the agent's process, before its program. If the kernel has no Landlock, the door has said so.

    Capabilities are dropped: root's would let it read the environment of other processes, keys included.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE_BYTES, _LARGEST_FILE_BYTES))
    version = setup["landlock_abi"]
    if version:
        rules = [(Path(path), rights) for path, rights in setup["rules"]]
        try:
            sandbox.drop_privileges()
            landlock.restrict(rules, setup["ports"], version, server_ports=[landlock.ANY_PORT])
            seccomp.install_for_programs(version < landlock.TRUNCATION_SINCE, setup["network"])
        except (LayerMissing, TooManyLayers) as missing:  # better no edit than one that is not confined as was said
            os.write(report, json.dumps({"unconfined": str(missing)}).encode() + b"\n")
            os._exit(126)


def _end_with_stdin(agent: "subprocess.Popen[bytes]") -> None:
    while os.read(0, 4096):
        pass
    agent.kill()


def _end_the_rest() -> int:
    """End what the agent left running, and all that these processes started. Returns how many it left.

    Orphans become children of this process, so nothing is left when it has no child. A list of processes does not
    show that: a process that forks and ends all the time is in no list.
    """
    until = time.monotonic() + _GRACE_S
    while _bury() and time.monotonic() < until:
        time.sleep(0.05)
    left_behind = len(_descendants())
    while _bury():
        for pid in _children() | _descendants():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    return left_behind


def _bury() -> bool:
    """Reap the children that are dead. Returns whether others are left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _children() -> set[int]:
    """This process's children, as the kernel lists them."""
    lists = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
    return {int(pid) for text in lists for pid in text.split()}


def _descendants() -> set[int]:
    """The living descendants, as far as a list of all processes shows them."""
    parents = {pid: parent for pid, parent, state in _processes() if state not in "ZX"}
    found: set[int] = set()
    fresh = {os.getpid()}
    while fresh:
        fresh = {pid for pid, parent in parents.items() if parent in fresh}
        found |= fresh
    return found


def _processes() -> list[tuple[int, int, str]]:
    """Pid, parent's pid and state of every process that can be seen."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            except (OSError, ValueError):
                continue
            found.append((int(folder.name), int(parent), state))
    return found


def _prctl(option: int, value: Any) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
