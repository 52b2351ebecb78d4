"""`python report.py --compare A B` pairs two kept versions; of held-out tasks it gives counts alone."""

from pathlib import Path

import pytest

from autoharness.errors import UserError
from autoharness.ledger import Baseline, Gate, Ledger, Record
from autoharness.report import main
from autoharness.store import Store, default_vault


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A baseline, and one version that is better in three held-out tasks and worse in one."""
    ledger = Ledger(Store(default_vault()), "m")
    before = {"hidden-1": 0.0, "hidden-2": 0.0, "hidden-3": 0.0, "hidden-4": 1.0, "hidden-5": 1.0, "hidden-6": None}
    after = {"hidden-1": 1.0, "hidden-2": 1.0, "hidden-3": 1.0, "hidden-4": 0.0, "hidden-5": 1.0, "hidden-6": 1.0}
    words = "retail test, 6 tasks, gpt-5.4"
    ledger.append(
        Baseline("m", "a", words, held_out=before, train={"1": 0.0, "2": 1.0}, val_score=0.4, commit="1" * 40)
    )
    gate = ledger.append(
        Gate("m", "b", words, held_out=after, train={"1": 1.0, "3": 1.0}, val_score=0.8, verdict="accepted")
    )
    ledger.append(Record("m", "b", gate=gate.number, commit="2" * 40))
    return ledger


def test_pairs_the_two(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--compare", "baseline", "best"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines() == [
        "measured: retail test, 6 tasks, gpt-5.4",
        "A: the baseline, commit 111111111111",
        "B: iteration 1, commit 222222222222",
        "held_out: A 0.4000 (0.12 to 0.77), B 0.8000 (0.38 to 0.96) over 5 tasks",
        "  difference +40.0 points, 95 % interval -30.4 to +87.5",
        "  B better in 3, worse in 1, equal in 1 (1 passed by both); exact sign test, two-sided: p = 0.62",
        "train: 1 tasks were run with both",
        "changes: 1 fixed, 0 broken  (train tasks, since A)",
        "  FIXED  1",
    ]
    assert "hidden" not in printed


def test_an_unknown_version_is_one_line(ledger: Ledger) -> None:
    with pytest.raises(UserError, match="no version '7'"):
        main(["--compare", "0", "7"])


def test_before_the_baseline_it_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"python prepare\.py"):
        main(["--compare", "0", "1"])
