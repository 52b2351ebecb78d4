"""Runs a command in so many of Landlock's layers that forbid it nothing.

python tests/support/stacked_layers.py 16 python benchmark.py ...
"""

import ctypes
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from autoharness.host import landlock


def main() -> None:
    ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    for _ in range(int(sys.argv[1])):
        layer = landlock.prepare([(Path("/"), landlock.OWN)], None, version=2)
        landlock.apply(layer)
        os.close(layer)
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
