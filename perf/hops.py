"""How far one has to read to follow a command: hops from function to function, and the files that they lie in.

    python perf/hops.py benchmark.py --task-ids 0      the command runs, in the working folder's checkout
    python perf/hops.py --list benchmark.py ...        with the functions, by file

A hop is one function of the package that calls another one, each pair counted once, in the process of the command
alone: what its workers and agent hosts do is not in it, nor what importing a module does.
"""

import inspect
import runpy
import sys
import threading
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Any

PACKAGE = str(Path("autoharness").resolve()) + "/"
_COMPREHENSIONS = ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>", "<lambda>")

Place = tuple[str, str]
hops: set[tuple[Place, Place]] = set()


def _function(frame: FrameType | None) -> Place | None:
    """The function of ours that a frame belongs to: its own, or the nearest that called it; None if there is none."""
    while frame:
        code = frame.f_code
        is_function = code.co_flags & inspect.CO_OPTIMIZED and code.co_name not in _COMPREHENSIONS
        if is_function and code.co_filename.startswith(PACKAGE):
            return code.co_filename.removeprefix(PACKAGE), code.co_qualname
        frame = frame.f_back
    return None


def note(frame: FrameType, event: str, _: Any) -> None:
    if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
        callee, caller = _function(frame), _function(frame.f_back)
        if callee and callee != caller and not _is_importing(frame):
            hops.add((caller or ("", "the command"), callee))


def _is_importing(frame: FrameType | None) -> bool:
    while frame:
        if frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(PACKAGE):
            return True
        frame = frame.f_back
    return False


def main(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.exit(__doc__)
    is_listed = arguments[:1] == ["--list"]
    sys.argv = arguments[is_listed:]
    sys.path.insert(0, str(Path.cwd()))
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        print(f"exit code {end.code}", file=sys.stderr)
    finally:
        sys.setprofile(None)
    by_file = defaultdict(set)
    for _, (file, name) in hops:
        by_file[file].add(name)
    if is_listed:
        for file, names in sorted(by_file.items(), key=lambda item: -len(item[1])):
            print(f"{len(names):4} {file}: {', '.join(sorted(names))}")
    print(f"hops: {len(hops)}")
    print(f"functions: {sum(map(len, by_file.values()))}")
    print(f"files: {len(by_file)}")


if __name__ == "__main__":
    main(sys.argv[1:])
