"""`python report.py`: a page, a diff, two versions in pairs; of held-out tasks counts alone, until a person asks."""

from pathlib import Path

import pytest

from autoharness.commands.report import main
from autoharness.core.errors import UserError
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Baseline, Gate, Record
from autoharness.vault.store import Store, default_vault
from perf.report_vault import HELD_OUT, Night, make_night


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A baseline, and a version that is better in three held-out tasks, worse in one, and alone in another."""
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
        "held_out: A 0.3333 (0.10 to 0.70), B 0.8333 (0.44 to 0.97) over 6 tasks",
        "  difference +50.0 points, 95 % interval -16.6 to +91.6",
        "  B better in 4, worse in 1, equal in 1 (1 passed by both); exact sign test, two-sided: p = 0.38",
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


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A vault as a night leaves it; the working folder is a checkout's."""
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    return make_night(default_vault(), Night(5, ["1", "2"]))


@pytest.mark.slow
def test_without_arguments_it_writes_one_page(night: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    page = Path("workspace/report.html")
    assert capsys.readouterr().out.startswith(f"report: {page}  (5 edits, 2 tasks, ")
    assert page.read_text().startswith("<!doctype html>")
    assert night.reveals("retail") == 0


def test_a_reveal_is_counted_and_lies_outside_the_checkout(night: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--reveal-held-out"]) == 0
    page = night.folder / "revealed" / "report.html"
    assert str(page) in capsys.readouterr().out
    assert HELD_OUT[0] in page.read_text() and "shown 1 time" in page.read_text()
    assert night.reveals("retail") == 1
    assert not Path("workspace").exists()
    with pytest.raises(UserError, match="inside the checkout"):
        main(["--reveal-held-out", "--output", "here.html"])
    assert night.reveals("retail") == 1


@pytest.mark.parametrize(
    ("names", "added", "removed"),
    [
        (["best"], "# edit 4", ""),
        (["4"], "# edit 4", ""),
        (["5"], "# edit 5", "# edit 4"),
        (["3", "5"], "# edit 5", "# edit 3"),
        (["best", "baseline"], "", "# edit 4"),
    ],
    ids=["best-since-the-baseline", "an-iteration", "one-that-was-rejected", "two", "backwards"],
)
def test_a_diff_of_the_agent_file(
    names: list[str], added: str, removed: str, night: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--diff", *names]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (f"+{added}" in lines) == bool(added) and (f"-{removed}" in lines) == bool(removed)


@pytest.mark.parametrize("names", [["9"], ["1", "2", "3"], ["baseline", "nonsense"]])
def test_a_diff_of_what_is_not_there_is_one_line(names: list[str], night: Store) -> None:
    with pytest.raises(UserError):
        main(["--diff", *names])


@pytest.mark.parametrize(
    "options",
    [["--port", "1"], ["--compare", "0", "1", "--output", "x"], ["--serve", "--version", "best"], ["--config", "x"]],
)
def test_an_option_that_does_not_belong_is_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == 3
    assert "does not go with" in capsys.readouterr().err


def test_a_diff_holds_nothing_that_a_terminal_would_obey(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a pipe neither: it may end in a pager."""
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    make_night(default_vault(), Night(4, ["1"], "\x1b]0;owned\x07 and \u202e backwards"))
    assert main(["--diff", "4"]) == 0
    printed = capsys.readouterr()
    assert "+# ]0;owned and  backwards" in printed.out
    assert not {"\x1b", "\x07", "\u202e"} & set(printed.out)
    assert printed.err == "[report] from the baseline to iteration 4\n"
