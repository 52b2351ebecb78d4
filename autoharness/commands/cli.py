"""What every command has in common: exit codes, and one line for a user's mistake."""

import argparse
import os
import select
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, TextIO

from autoharness.commands.end_signals import ending_on_sigterm
from autoharness.core.command_form import in_compose, through_compose
from autoharness.core.errors import (
    EXIT_BUG,
    EXIT_INTERRUPTED,
    EXIT_MISUSE,
    EXIT_UNDECIDED,
    Interrupted,
    Outage,
    RunLimitReached,
    UserError,
)
from autoharness.core.exhausted import line_of
from autoharness.core.redaction import printable
from autoharness.core.standard_streams import forgiving, let_go, named
from autoharness.engine.machine import raise_limit
from autoharness.vault.location import VAULT_VARIABLE
from autoharness.vault.store import default_vault

_OF_PROVIDERS = ("_API_KEY", "_API_BASE")


class Parser(argparse.ArgumentParser):
    """argparse, with exit code 3 for misuse: 2 means that infrastructure failed."""

    def add_settings(self, of: str = "") -> None:
        """Add the options for the experiment's settings. `of`: what they belong to, such as "of --confirm, "."""
        self.add_argument("--config", type=Path, metavar="FILE", help=f"{of}instead of experiment_config.yaml")
        self.add_argument(
            "--set",
            action="append",
            metavar="NAME=VALUE",
            help=f"{of}any setting, as the file has it, such as trials=4; may be repeated",
        )

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_MISUSE, f"{self.prog}: {message} (see --help)\n")


def run_door(command: Callable[[list[str]], int]) -> NoReturn:
    """Run a door's command and exit with its code. 1 is a verdict: no error of any kind ends with that."""
    code, streams = EXIT_BUG, (sys.stdout, sys.stderr)
    raise_limit()
    sys.stdout, sys.stderr = named(sys.stdout), forgiving(sys.stderr)
    try:
        with ending_on_sigterm():
            code = _code_of(command)
    finally:
        sys.stdout, sys.stderr = streams
        for stream in streams:
            if _is_gone(stream):  # otherwise Python itself would complain at its end, with a code of its own
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            let_go(stream)
        sys.exit(code)


def _code_of(command: Callable[[list[str]], int]) -> int:
    try:
        _load_secrets()
        code = command(sys.argv[1:])
        sys.stdout.flush()
        return code
    except SystemExit as end:  # argparse has said what there is to say
        if isinstance(end.code, str):
            _say(end.code)
        return end.code if isinstance(end.code, int) else EXIT_BUG if end.code else 0
    except UserError as error:
        return _complain(str(error))
    except (RunLimitReached, Outage) as reason:
        _say(f"stopped: {printable(str(reason))}")
        return EXIT_UNDECIDED
    except Interrupted:
        _say("interrupted: what was finished is kept; the same command runs the rest")
        return EXIT_INTERRUPTED
    except KeyboardInterrupt as end:
        if end.args:
            _say(f"ended by {end}: the same command goes on")
        return EXIT_INTERRUPTED
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _is_gone(sys.stdout):
            return EXIT_INTERRUPTED  # `benchmark.py | head`: the reader has had enough
        line = line_of(error, _written())
        return _complain(line) if line else _bug()
    except ModuleNotFoundError as error:
        return _complain(_not_installed(error.name)) if _is_a_package(error.name) else _bug()
    except Exception:
        return _bug()


def _is_a_package(name: str | None) -> bool:
    """Whether it is neither a module of ours nor one of Python's own."""
    return bool(name) and str(name).partition(".")[0] not in {"autoharness", *sys.stdlib_module_names}


def _not_installed(package: str | None) -> str:
    """How to get the packages. This Python may be one that has none of them, beside a container that has all."""
    what = f"the package {package} is not installed for {sys.executable}"
    if in_compose():
        return f"{what}: the image is older than this checkout: docker compose build"
    plain = ". .venv/bin/activate" if Path(".venv/ready").exists() else "make .venv/ready && . .venv/bin/activate"
    return f"{what}: {plain}; or with docker compose: {through_compose(Path(sys.argv[0]).name)}"


def _written() -> Iterator[Path]:
    """Where a command writes."""
    with suppress(UserError):
        yield default_vault()
    yield Path()
    with suppress(OSError):
        yield Path(tempfile.gettempdir())


def _is_gone(stream: TextIO) -> bool:
    """Whether nobody reads it any more: the other end of a pipe, or a terminal."""
    with suppress(OSError, ValueError):  # it is closed, or no file
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLERR)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    return False


def _bug() -> int:
    _say(traceback.format_exc().rstrip())
    return EXIT_BUG


def _complain(message: str) -> int:
    _say(f"error: {printable(' '.join(message.split()))}")
    return EXIT_MISUSE


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # if nobody hears it, the exit code says it too


def _load_secrets() -> None:
    """Set the variables of `.env` that are not set yet. A key that is left empty, as in its example, is ignored.

    The vault cannot be named there: a coding agent works in that file's folder.
    """
    from dotenv import dotenv_values

    try:
        values = dotenv_values(".env")
    except OSError as error:
        raise UserError(line_of(OSError(error.errno, error.strerror, ".env"))) from error
    except UnicodeDecodeError as error:
        raise UserError(f".env: cannot be read: {error}") from error
    for name in [name for name, value in os.environ.items() if not value and name.endswith(_OF_PROVIDERS)]:
        del os.environ[name]  # litellm would take it for a key
    for name, value in values.items():
        if value and name != VAULT_VARIABLE:
            os.environ.setdefault(name, value)
