"""What every command has in common: its exit codes, and one line for a person's mistake."""

import argparse
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from autoharness.errors import (
    EXIT_BUG,
    EXIT_INTERRUPTED,
    EXIT_MISUSE,
    EXIT_UNDECIDED,
    Interrupted,
    Outage,
    RunLimitReached,
    UserError,
)
from autoharness.scrub import printable

_VAULT = "AUTOHARNESS_VAULT"
_OF_PROVIDERS = ("_API_KEY", "_API_BASE")


class Parser(argparse.ArgumentParser):
    """argparse, with exit code 3 for misuse: 2 means that infrastructure failed."""

    def add_settings(self, of: str = "") -> None:
        """Where the experiment's settings come from. `of`: what it belongs to, such as "of --confirm, "."""
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
    """Run a door's command and exit with its code."""
    try:
        _load_secrets()
        code = command(sys.argv[1:])
        sys.stdout.flush()
        sys.exit(code)
    except UserError as error:
        _complain(str(error))
    except (RunLimitReached, Outage) as reason:
        print(f"stopped: {printable(str(reason))}", file=sys.stderr)
        sys.exit(EXIT_UNDECIDED)
    except Interrupted:
        print("interrupted: what was finished is kept; the same command runs the rest", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # `benchmark.py | head`: the reader has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_INTERRUPTED)
    except OSError as error:  # a file that cannot be read or written is a person's to mend, whichever it is
        if not error.filename:
            raise
        _complain(f"{error.filename}: {error.strerror}")
    except Exception:  # a bug of ours must not be taken for a verdict
        traceback.print_exc()
        sys.exit(EXIT_BUG)


def _complain(message: str) -> NoReturn:
    print(f"error: {printable(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(EXIT_MISUSE)


def _load_secrets() -> None:
    """The variables of `.env` that are not set yet. A key that is left empty, as in its example, is none.

    The vault is not named there: that file lies where a coding agent works.
    """
    from dotenv import dotenv_values

    try:
        values = dotenv_values(".env")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f".env: cannot be read: {error}") from error
    for name in [name for name, value in os.environ.items() if not value and name.endswith(_OF_PROVIDERS)]:
        del os.environ[name]  # litellm would take it for a key
    for name, value in values.items():
        if value and name != _VAULT:
            os.environ.setdefault(name, value)
