"""Composes PROGRAM.md: everything that a coding agent is told.

It is composed from templates: one for the loop that a coding agent runs by itself, or one for the single edit that
`optimize.py` asks for; and those for both and for this benchmark. Its commands have the form in which prepare was
started: plain, from a virtual environment, or through docker compose.
"""

import inspect
import os
import shutil
import sys
from pathlib import Path

from autoharness.core.errors import UserError
from autoharness.core.files import write_text

PROGRAM_FILE = Path("PROGRAM.md")
_COMMAND_VARIABLE = "AUTOHARNESS_COMMAND"
_FOLDER = Path("program_templates")
_LOOP, _EDIT = "base.md", "edit.md"
_TAU2, _OWN, _GOOD_EDITS, _AGENT_FILE = "tau_bench.md", "own_benchmark.md", "good_edits.md", "agent_file.md"
_PYTHON, _ABOUT = "{python}", "{about}"


def compose(about: str = "") -> None:
    """Write PROGRAM.md if it is not up to date. Raises UserError."""
    text = composed(python_command(), about=about)
    if not PROGRAM_FILE.exists() or PROGRAM_FILE.read_text(encoding="utf-8") != text:
        write_text(PROGRAM_FILE, text)


def for_one_edit(about: str = "") -> str:
    """What `optimize.py` tells the coding agent that it drives. Raises UserError."""
    return composed(python_command(), _EDIT, about)


def composed(python: str, first: str = _LOOP, about: str = "") -> str:
    """The text, with commands that start with `python`. Raises UserError.

    `about`: what your own benchmark says of itself; if empty, the text is for tau2-bench.
    """
    benchmark = _read(_OWN).replace(_ABOUT, inspect.cleandoc(about)) if about else _read(_TAU2)
    parts = [_read(first), _read(_GOOD_EDITS), benchmark, _read(_AGENT_FILE)]
    return "\n\n".join(parts).replace(_PYTHON, python) + "\n"


def _read(name: str) -> str:
    try:
        return (_FOLDER / name).read_text(encoding="utf-8").rstrip()
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}; run from the checkout's root") from error


def python_command() -> str:
    """The command that starts this Python here."""
    named = os.environ.get(_COMMAND_VARIABLE)
    if named:
        return named
    typed = sys.orig_argv[0]
    found = shutil.which("python")
    return "python" if found and Path(found).absolute() == Path(sys.executable).absolute() else typed
