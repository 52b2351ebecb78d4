"""The ledger keeps what was measured and decided, in order, through kills and across measures."""

from dataclasses import replace
from pathlib import Path

import pytest

from autoharness.errors import UserError
from autoharness.ledger import BASELINE, GATE, RECORD, Ledger, Row
from autoharness.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "vault")


def _gate(ledger: Ledger, agent: str, score: float, promoted: tuple[str, ...] = (), verdict: str = "accepted") -> Row:
    row = Row(GATE, ledger.measure, agent, val_score=score, promoted=list(promoted), verdict=verdict)
    return ledger.append(row)


def _record(ledger: Ledger, gate: Row, commit: str = "c0ffee1234") -> None:
    ledger.append(replace(gate, kind=RECORD, gate=gate.number, commit=commit))


@pytest.fixture
def ledger(store: Store) -> Ledger:
    ledger = Ledger(store, "m")
    ledger.append(Row(BASELINE, "m", "a", val_score=0.5))
    return ledger


def test_only_recorded_candidates_are_versions_and_fill_the_suite(store: Store, ledger: Ledger) -> None:
    _gate(ledger, "b", 0.9, ("1",))
    _record(ledger, _gate(ledger, "c", 0.6, ("2", "3")))
    _gate(ledger, "d", 0.4, verdict="rejected")
    _record(ledger, _gate(ledger, "e", 0.6, ("4",)))
    for read in (ledger, Ledger(store, "m")):
        assert [(one.iteration, one.row.agent) for one in read.versions] == [(0, "a"), (1, "c"), (2, "e")]
        assert read.suite == ["2", "3", "4"]
        assert read.best.iteration == 2


def test_measures_do_not_mix(store: Store, ledger: Ledger) -> None:
    other = Ledger(store, "n")
    assert not other.versions
    other.append(Row(BASELINE, "n", "z", val_score=0.1))
    assert Ledger(store, "n").best.row.agent == "z"
    assert Ledger(store, "m").best.row.agent == "a"
    assert Ledger(store).measure == "n"


def test_a_line_that_a_kill_cut_short_costs_itself_alone(store: Store, ledger: Ledger) -> None:
    with (store.folder / "ledger.jsonl").open("a") as file:
        file.write('{"kind": "gate", "mea')
    _record(Ledger(store, "m"), _gate(Ledger(store, "m"), "b", 0.7))
    assert [version.row.agent for version in Ledger(store, "m").versions] == ["a", "b"]


def test_a_version_is_found_by_its_names(ledger: Ledger) -> None:
    _record(ledger, _gate(ledger, "b", 0.7), "abcdef1234567890")
    assert [ledger.version(name).iteration for name in ("baseline", "0", "best", "1", "abcdef1")] == [0, 0, 1, 1, 1]
    for name in ("2", "abc", "worst"):
        with pytest.raises(UserError, match="there is baseline, best, and 0 to 1"):
            ledger.version(name)


def test_only_the_newest_gate_of_the_file_counts_and_only_until_the_next_record(ledger: Ledger) -> None:
    gate = _gate(ledger, "b", 0.7)
    assert ledger.pending("b") == gate
    _gate(ledger, "c", 0.1, verdict="rejected")
    assert ledger.pending("b") == gate
    with pytest.raises(UserError, match="was rejected"):
        ledger.pending("c")
    _record(ledger, gate)
    with pytest.raises(UserError, match="not what was gated last"):
        ledger.pending("b")


def test_a_line_of_another_shape_is_named(store: Store, ledger: Ledger) -> None:
    store.append_line("ledger.jsonl", {"kind": "gate", "score": 1})
    with pytest.raises(UserError, match=r"ledger\.jsonl, line 2: damaged, and it decides"):
        Ledger(store)


def test_a_damaged_line_is_not_passed_over(store: Store, ledger: Ledger) -> None:
    """Without a record's line an older score would be the best one again."""
    _record(ledger, _gate(ledger, "b", 0.9))
    lines = (store.folder / "ledger.jsonl").read_text().splitlines()
    (store.folder / "ledger.jsonl").write_text("\n".join([lines[0], lines[1][:-9], lines[2]]) + "\n")
    with pytest.raises(UserError, match="line 2: damaged"):
        Ledger(store, "m")


def test_a_lost_line_is_noticed_by_the_numbers(store: Store, ledger: Ledger) -> None:
    _record(ledger, _gate(ledger, "b", 0.9))
    lines = (store.folder / "ledger.jsonl").read_text().splitlines()
    (store.folder / "ledger.jsonl").write_text("\n".join([lines[0], lines[2]]) + "\n")
    with pytest.raises(UserError, match="line 2: damaged"):
        Ledger(store, "m")
