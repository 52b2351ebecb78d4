"""Composes PROGRAM.md: everything that a coding agent is told.

    PROGRAM.md             at the root, committed: for a reader before prepare, and in its first lines the way to
    workspace/PROGRAM.md   what prepare writes for this benchmark, with the commands as they are typed here

Only the second is ever written, so git has nothing to complain about when the checkout is updated.

It is composed from templates: one for the loop that a coding agent runs by itself, or one for the single edit that
`optimize.py` asks for; and those for both and for this benchmark. Its commands have the form in which prepare was
started: plain, from a virtual environment, or through docker compose.
"""

import inspect
from pathlib import Path

from autoharness.core.command_form import python_command
from autoharness.core.errors import UserError
from autoharness.core.files import read_text, write_text

PROGRAM_FILE = Path("PROGRAM.md")
COMPOSED_FILE = Path("workspace/PROGRAM.md")
_FOLDER = Path("program_templates")
_LOOP, _EDIT = "base.md", "edit.md"
_TAU2, _OWN, _GOOD_EDITS, _AGENT_FILE = "tau_bench.md", "own_benchmark.md", "good_edits.md", "agent_file.md"
_PYTHON, _ABOUT = "{python}", "{about}"
_POINTER = f"""\
> If there is a `{COMPOSED_FILE}`, read that one and follow it: it stands for this file. `{_PYTHON} prepare.py`
> writes it, with what is to be known of your benchmark, and with the commands as they are typed here."""


def compose(about: str = "") -> None:
    """Write `workspace/PROGRAM.md` if it is not up to date. Raises UserError."""
    text = composed(python_command(), about=about)
    if not is_composed(text):
        write_text(COMPOSED_FILE, text)


def is_composed(text: str) -> bool:
    """Whether `workspace/PROGRAM.md` has this text."""
    try:
        return read_text(COMPOSED_FILE) == text
    except (OSError, UserError):  # there is none, or a link in its place
        return False


def committed() -> str:
    """The text of PROGRAM.md at the root. Raises UserError."""
    python = "python"
    return f"{_POINTER.replace(_PYTHON, python)}\n\n{composed(python)}"


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
