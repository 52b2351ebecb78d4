"""Disturbed in every phase, the loop comes to what it comes to undisturbed: four runs of perf/kill_drill."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from small_disk import namespace

pytestmark = pytest.mark.slow


def test_runs_killed_in_every_phase_without_a_worker_and_with_a_full_disk_come_to_the_same(
    tmp_path: Path,
) -> None:
    """A machine that gives no mount namespace has no small disk to fill, and the drill goes without."""
    command = [sys.executable, str(ROOT / "perf" / "kill_drill.py"), "--short", "--runs", "4", "--seed", "7"]
    done = subprocess.run([*command, "--folder", str(tmp_path / "runs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{1 if namespace() else 0} full disks, 1 lost workers, 0 came to something else" in done.stdout
