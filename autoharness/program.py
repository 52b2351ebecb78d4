"""PROGRAM.md: what a coding agent has to know, and all that it has.

It is composed from two templates: what holds for every benchmark, and what holds for this one. Its commands stand in
the form in which prepare was started: plain, from a virtual environment, or through docker compose.
"""

import os
import shutil
import sys
from pathlib import Path

from autoharness.errors import UserError
from autoharness.store import write_text

PROGRAM_FILE = Path("PROGRAM.md")
COMMAND_VARIABLE = "AUTOHARNESS_COMMAND"
_TEMPLATES = (Path("program_templates/base.md"), Path("program_templates/tau_bench.md"))
_PYTHON = "{python}"


def compose() -> None:
    """Write PROGRAM.md where it is not up to date. Raises UserError."""
    text = composed(python_command())
    if not PROGRAM_FILE.exists() or PROGRAM_FILE.read_text(encoding="utf-8") != text:
        write_text(PROGRAM_FILE, text)


def composed(python: str) -> str:
    """The text, with commands that start with `python`."""
    try:
        parts = [template.read_text(encoding="utf-8").rstrip() for template in _TEMPLATES]
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}; run from the checkout's root") from error
    return "\n\n".join(parts).replace(_PYTHON, python) + "\n"


def python_command() -> str:
    """How a person starts our Python here."""
    named = os.environ.get(COMMAND_VARIABLE)
    if named:
        return named
    typed = sys.orig_argv[0]
    found = shutil.which("python")
    return "python" if found and Path(found).absolute() == Path(sys.executable).absolute() else typed
