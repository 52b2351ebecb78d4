"""Runs a door with a clock that is set back by a day, again and again: at each look it is a day and a second earlier.

python tests/support/clock_back.py optimize.py
"""

import sys
import time
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

_BACK = timedelta(days=1)
_looks = 0


class SetBack(datetime):
    """The time of day as the store reads it."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "SetBack":
        global _looks
        _looks += 1
        return super().now(tz) - _looks * _BACK


def main() -> None:
    import autoharness

    autoharness.begin()
    from autoharness.commands import optimize
    from autoharness.vault import store

    store.datetime = SetBack  # type: ignore[misc]
    real = time.time
    time.time = lambda: real() - _looks * _BACK.total_seconds()
    del sys.argv[0]
    optimize.run_door(optimize.main)


if __name__ == "__main__":
    main()
