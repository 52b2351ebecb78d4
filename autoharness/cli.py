"""What every command has in common: its exit codes, and one line for a person's mistake."""

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from autoharness.errors import EXIT_INTERRUPTED, EXIT_MISUSE, UserError


class Parser(argparse.ArgumentParser):
    """argparse, with exit code 3 for misuse: 2 means that infrastructure failed."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_MISUSE, f"{self.prog}: {message} (see --help)\n")


def run_door(command: Callable[[list[str]], int]) -> NoReturn:
    """Run a door's command and exit with its code."""
    from dotenv import load_dotenv

    load_dotenv(".env")
    try:
        sys.exit(command(sys.argv[1:]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_MISUSE)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # `benchmark.py | head`: the reader has had enough
        sys.exit(EXIT_INTERRUPTED)
