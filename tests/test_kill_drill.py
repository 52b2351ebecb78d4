"""Killed in every phase, the loop comes to what it comes to undisturbed: three runs of the drill in benchmarks/."""

import runpy
from collections import Counter
from pathlib import Path

from conftest import ROOT


def test_three_runs_killed_in_every_phase_come_to_the_same(tmp_path: Path) -> None:
    drill = runpy.run_path(str(ROOT / "benchmarks" / "kill_drill.py"))
    runs = drill["many"](3, tmp_path, seed=7, concurrency=1, short=True)
    assert [run.differences for run in runs] == [[], [], []]
    kills = Counter(phase for run in runs for phase in run.killed_in)
    assert set(kills) >= set(drill["PHASES"]), kills
