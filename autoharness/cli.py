"""What every command has in common: its exit codes, and one line for a person's mistake."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from autoharness.errors import EXIT_INTERRUPTED, EXIT_MISUSE, UserError

_OF_PROVIDERS = ("_API_KEY", "_API_BASE")


class Parser(argparse.ArgumentParser):
    """argparse, with exit code 3 for misuse: 2 means that infrastructure failed."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_MISUSE, f"{self.prog}: {message} (see --help)\n")


def run_door(command: Callable[[list[str]], int]) -> NoReturn:
    """Run a door's command and exit with its code."""
    try:
        _load_secrets()
        code = command(sys.argv[1:])
        sys.stdout.flush()
        sys.exit(code)
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(EXIT_MISUSE)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # `benchmark.py | head`: the reader has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_INTERRUPTED)


def _load_secrets() -> None:
    """The variables of `.env` that are not set yet. A key that is left empty, as in its example, is none."""
    from dotenv import dotenv_values

    try:
        values = dotenv_values(".env")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f".env: cannot be read: {error}") from error
    for name in [name for name, value in os.environ.items() if not value and name.endswith(_OF_PROVIDERS)]:
        del os.environ[name]  # litellm would take it for a key
    for name, value in values.items():
        if value:
            os.environ.setdefault(name, value)
