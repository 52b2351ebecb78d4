"""The limit of open files is raised as far as it goes, and conversations fit into it."""

import resource
import subprocess
import sys

import pytest
from conftest import ROOT

from autoharness.core.errors import UserError
from autoharness.engine.machine import fitting


def _limit(soft: int, hard: int) -> int:
    """A process's own limit after it was raised."""
    script = (
        f"import resource as r; r.setrlimit(r.RLIMIT_NOFILE, ({soft}, {hard})); "
        "from autoharness.engine.machine import raise_limit; raise_limit(); print(r.getrlimit(r.RLIMIT_NOFILE)[0])"
    )
    command = [sys.executable, "-c", script]
    return int(subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=True).stdout)


def test_the_soft_limit_becomes_the_hard_one() -> None:
    assert _limit(64, 512) == 512
    assert _limit(64, 64) == 64


@pytest.mark.parametrize(
    ("limit", "wanted", "workers", "most"),
    [(64, 64, 2, 16), (64, 8, 2, 8), (64, 64, 1, 8), (4096, 64, 1, 64), (resource.RLIM_INFINITY, 64, 1, 64)],
)
def test_so_many_conversations_fit(
    limit: int, wanted: int, workers: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is patched: pytest needs its own."""
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limit, limit))
    assert fitting(wanted, workers) == most


def test_where_not_even_one_fits_the_limit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (20, 20))
    with pytest.raises(UserError, match=r"ulimit -n: 20 open files are allowed, and 36 are needed: ulimit -n 4096"):
        fitting(1, 1)
