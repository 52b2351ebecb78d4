"""Workers follow the processors that are allowed, not those that are there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from autoharness.core.settings import Experiment
from autoharness.engine.executor import LocalExecutor
from autoharness.engine.machine import allowed_cpus


def _asked(cpus: set[int]) -> int:
    """What a process on these processors finds."""
    script = f"import os; os.sched_setaffinity(0, {cpus}); from autoharness.engine.machine import allowed_cpus as a; "
    command = [sys.executable, "-c", script + "print(a())"]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_one_processor_of_many_is_one() -> None:
    assert _asked({min(os.sched_getaffinity(0))}) == 1


def test_the_executor_starts_no_more_workers_than_that(tmp_path: Path) -> None:
    executor = LocalExecutor(Experiment(domain="mock", max_concurrency=64), tmp_path)
    assert executor._most_workers() == allowed_cpus()
    assert 1 <= allowed_cpus() <= len(os.sched_getaffinity(0))


def _machine(tmp_path: Path, group: str, mount: str, files: dict[str, str]) -> Path:
    """A /proc/self with one line for the group and one for the mount; `{}` there is the folder it is mounted at."""
    for name, text in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(text)
    (tmp_path / "cgroup").write_text(f"{group}\n")
    (tmp_path / "mountinfo").write_text(f"21 20 0:1 / /proc rw - proc proc rw\n{mount.format(tmp_path / 'fs')}\n")
    return tmp_path


V2, V2_MOUNT = "0::/batch/mine", "30 25 0:26 / {} rw shared:4 - cgroup2 cgroup rw"
V1, V1_MOUNT = "4:cpu,cpuacct:/docker/x", "31 25 0:27 /docker/x {} ro - cgroup cgroup rw,cpu,cpuacct"


@pytest.mark.parametrize(
    ("group", "mount", "files", "most"),
    [
        (V2, V2_MOUNT, {"batch/mine/cpu.max": "50000 100000\n"}, 1),
        (V2, V2_MOUNT, {"batch/mine/cpu.max": "max 100000\n", "batch/cpu.max": "100000 100000\n"}, 1),
        (V2, V2_MOUNT, {"batch/mine/cpu.max": "max 100000\n"}, None),
        (V2, V2_MOUNT, {"batch/mine/cpu.max": "nonsense\n"}, None),
        ("0::/", V2_MOUNT, {"cpu.max": "1000 100000\n"}, 1),
        (V1, V1_MOUNT, {"cpu.cfs_quota_us": "100000\n", "cpu.cfs_period_us": "100000\n"}, 1),
        (V1, V1_MOUNT, {"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, None),
        (V1, V2_MOUNT, {"cpu.max": "1000 100000\n"}, None),
    ],
    ids=["v2", "v2, of the group above", "v2, none", "v2, odd", "v2, own root", "v1", "v1, none", "not mounted"],
)
def test_a_containers_quota_counts_rounded_up(
    group: str, mount: str, files: dict[str, str], most: int | None, tmp_path: Path
) -> None:
    assert allowed_cpus(_machine(tmp_path, group, mount, files)) == (most or len(os.sched_getaffinity(0)))


def test_a_quota_of_one_and_a_half_is_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    machine = _machine(tmp_path, V2, V2_MOUNT, {"batch/mine/cpu.max": "150000 100000\n"})
    assert allowed_cpus(machine) == 2
    assert allowed_cpus(tmp_path / "no Linux") == 64
