"""Runs every attack in every mode and prints the score card alone: python tests/redteam/score_card.py"""

import contextlib
import io
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from redteam import conftest  # noqa: E402


def main() -> int:
    os.environ["RED_TEAM_PROCESS"] = "1"
    files = [str(HERE / f"test_{mode}.py") for mode in ("unconfined", "process", "sandbox", "coding_agent")]
    with contextlib.redirect_stdout(io.StringIO()):
        code = pytest.main([*files, "-p", "no:cacheprovider", "-n", "2", "--dist", "load"])
    print(conftest.score_card())
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
