"""Runs every attack in every mode, and every cheat, and prints the score card alone.

python tests/redteam/score_card.py             all of it
python tests/redteam/score_card.py --cheats    the cheats alone: agent files that raise a score without an escape;
                                               a line for each, and the table of docs/gate.md
python tests/redteam/score_card.py --cheats --keep FILE    keeps each figure, and goes on where a kill broke it off
"""

import argparse
import contextlib
import io
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "support"), str(HERE.parents[1])]

from redteam import cheating, conftest  # noqa: E402
from redteam.catalogue import CHEATS  # noqa: E402
from redteam.cheat_figures import BEFORE, Found, classes, is_raised, load, save, summary, table  # noqa: E402
from redteam.nights import ROOT, Tree  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description="The score card alone.")
    parser.add_argument("--cheats", action="store_true", help="of the cheats")
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", help="figures of cheats; those in it are not played again"
    )
    options = parser.parse_args()
    code = 0
    if not options.cheats:
        code = _attacks()
        print(f"{conftest.score_card()}\n")
    nights = _cheats(options.keep)
    before = load(BEFORE)
    print(table(nights, before))
    print(f"\n{classes(nights, before)}")
    print("\nraises the score without an escape")
    print(f"  on 9a969fe      {summary(before)}")
    print(f"  on this tree    {summary(nights)}")
    return code or int(any(is_raised(name, *both) and not both[0].marked for name, both in nights.items()))


def _cheats(kept: Path | None) -> Found:
    tree, known = Tree(ROOT), load(kept) if kept else {}

    def keep(found: Found) -> None:
        if kept:
            save(kept, tree, found)

    found = known | cheating.measured(tree, [name for name in CHEATS if name not in known], on_each=keep)
    return {name: found[name] for name in CHEATS}


def _attacks() -> int:
    os.environ["RED_TEAM_PROCESS"] = "1"
    modes = ("unconfined", "process", "sandbox", "coding_agent", "confined_coding_agent", "covert_channels", "vault")
    files = [str(HERE / f"test_{mode}.py") for mode in modes]
    with contextlib.redirect_stdout(io.StringIO()):
        return int(pytest.main([*files, "-p", "no:cacheprovider", "-n", "2", "--dist", "load"]))


if __name__ == "__main__":
    sys.exit(main())
