"""The ledger keeps what was measured and decided, in order, through kills, and shows every change made by hand."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from small_disk import on_a_disk

from autoharness.core.errors import UserError
from autoharness.core.outcomes import digest
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_chain import mend, read
from autoharness.vault.ledger_rows import Baseline, Gate, Look, Record, SuiteRecord
from autoharness.vault.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "vault")


def _gate(ledger: Ledger, agent: str, score: float | None = None, **fields: Any) -> Gate:
    accepted = {"verdict": "accepted"} if score is not None else {"verdict": "rejected"}
    incumbent = ledger.best.row.agent
    return ledger.append(Gate(ledger.measure, agent, val_score=score, incumbent=incumbent, **accepted | fields))


def _record(ledger: Ledger, gate: Gate, commit: str = "c0ffee1234") -> None:
    ledger.append(Record(ledger.measure, gate.agent, gate=gate.number, commit=commit))


@pytest.fixture
def ledger(store: Store) -> Ledger:
    ledger = Ledger(store, "m")
    ledger.append(Baseline("m", "a", val_score=0.5))
    return ledger


def _lines(store: Store) -> list[str]:
    """Without the blanks that fill up the last one."""
    return [line.rstrip() for line in (store.folder / "ledger.jsonl").read_text().splitlines()]


def _write(store: Store, lines: list[str]) -> None:
    (store.folder / "ledger.jsonl").write_text("".join(line + "\n" for line in lines))


def test_only_recorded_candidates_are_versions_and_fill_the_suite(store: Store, ledger: Ledger) -> None:
    _gate(ledger, "b", 0.9, promoted=["1"])
    _record(ledger, _gate(ledger, "c", 0.6, promoted=["2", "3"], promotion_trials=3))
    _gate(ledger, "d")
    _record(ledger, _gate(ledger, "e", 0.55, promoted=["4"], promotion_trials=3))
    for again in (ledger, Ledger(store, "m")):
        assert [(one.iteration, one.row.agent) for one in again.versions] == [(0, "a"), (1, "c"), (2, "e")]
        assert again.suite == dict.fromkeys("234", SuiteRecord(3, 3))
        assert again.best.iteration == 2


def test_what_is_read_is_what_was_written(store: Store, ledger: Ledger) -> None:
    look = Look("candidate", "telecom [x]|y", 3, 0.5, "key", "sha")
    gate = _gate(ledger, "b", 0.9, looks=[look], suite_looks=[look], held_out={"1": 1.0, "2": None})
    assert Ledger(store, "m").rows == ledger.rows and Ledger(store, "m").gates == [gate]


def test_under_the_ratchet_the_best_version_is_the_one_with_the_best_score(store: Store) -> None:
    ledger = Ledger(store, "m")
    ledger.append(Baseline("m", "a", experiment={"gate": "ratchet"}, val_score=0.5))
    for agent, score in (("b", 0.9), ("c", 0.6), ("d", 0.9), ("e", 0.7)):
        _record(ledger, _gate(ledger, agent, score, experiment={"gate": "ratchet"}))
    assert ledger.best.row.agent == "d"


def test_a_question_is_counted_once_for_each_candidate_and_only_where_it_was_asked(ledger: Ledger) -> None:
    _gate(ledger, "b", verdict="undecided")
    _gate(ledger, "b")
    _gate(ledger, "c", asked=False)
    assert (ledger.questions, ledger.questions_about("a", ""), ledger.questions_about("a", "b")) == (1, 1, 0)
    _record(ledger, _gate(ledger, "d", 0.6))
    _gate(ledger, "e")
    assert (ledger.questions, ledger.questions_about("a", ""), ledger.questions_about("d", "e")) == (3, 2, 0)


def test_the_trials_of_the_incumbent_that_earlier_questions_bought_are_counted(ledger: Ledger) -> None:
    def looks(*numbers: int, side: str = "incumbent", reward: float | None = 1.0) -> list[Look]:
        return [Look(side, "1", number, reward) for number in numbers]

    promoting = looks(0, 1, 2, side="candidate")
    gate = _gate(ledger, "b", 0.6, looks=promoting, score_looks=looks(3, side="candidate"), first_trial=3)
    _record(ledger, gate)
    assert ledger.bought(ledger.best) == {"1": 1}
    _gate(ledger, "c", looks=[*looks(3, 4, 6), *looks(5, side="candidate"), *looks(5, reward=None)])
    assert ledger.bought(ledger.best) == {"1": 2}
    _gate(ledger, "d", looks=looks(5))
    assert ledger.bought(ledger.best) == {"1": 4}


def test_a_suite_task_keeps_a_record_and_is_quarantined_when_the_unchanged_incumbent_fails_it(ledger: Ledger) -> None:
    _record(ledger, _gate(ledger, "b", 0.6, promoted=["1", "2"], promotion_trials=3))
    _gate(ledger, "c", suite={"1": 0.0, "2": 0.0}, suite_checks={"1": 0.0, "2": 1.0})
    assert ledger.suite == {"2": SuiteRecord(4, 4)}, "1 flakes; what a rejected candidate did is no record"
    last = _gate(ledger, "d", 0.7, suite={"2": 1.0}, promoted=["3"], promotion_trials=3)
    again = _gate(ledger, "d", 0.7, suite={"2": 1.0}, promoted=["3"], promotion_trials=3)
    _record(ledger, again)
    assert ledger.suite == {"2": SuiteRecord(5, 5), "3": SuiteRecord(3, 3)}, "gated twice, recorded once"
    assert ledger.before(last).suite == {"2": SuiteRecord(4, 4)}


def test_measures_do_not_mix(store: Store, ledger: Ledger) -> None:
    other = Ledger(store, "n")
    assert not other.versions
    other.append(Baseline("n", "z", val_score=0.1))
    assert Ledger(store, "n").best.row.agent == "z"
    assert Ledger(store, "m").best.row.agent == "a"
    assert Ledger(store).measure == "n"


def test_a_line_that_a_kill_cut_short_costs_itself_alone(store: Store, ledger: Ledger) -> None:
    with (store.folder / "ledger.jsonl").open("a") as file:
        file.write('{"kind": "gate", "mea')
    after_the_kill = Ledger(store, "m")
    _record(after_the_kill, _gate(after_the_kill, "b", 0.7))
    assert [version.row.agent for version in Ledger(store, "m").versions] == ["a", "b"]


def test_a_version_is_found_by_its_names(ledger: Ledger) -> None:
    _record(ledger, _gate(ledger, "b", 0.7), "abcdef1234567890")
    assert [ledger.version(name).iteration for name in ("baseline", "0", "best", "1", "abcdef1")] == [0, 0, 1, 1, 1]
    for name in ("2", "abc", "worst"):
        with pytest.raises(UserError, match="there is baseline, best, and 0, 1"):
            ledger.version(name)


def test_only_the_newest_gate_of_the_file_counts_and_only_until_the_next_record(ledger: Ledger) -> None:
    gate = _gate(ledger, "b", 0.7)
    assert ledger.pending("b") == gate
    _gate(ledger, "c")
    assert ledger.pending("b") == gate
    with pytest.raises(UserError, match="was rejected"):
        ledger.pending("c")
    _record(ledger, gate)
    with pytest.raises(UserError, match="not what was gated last"):
        ledger.pending("b")


@pytest.fixture
def three(store: Store, ledger: Ledger) -> list[str]:
    """The lines of a ledger with a baseline, a rejected candidate and an accepted one."""
    _gate(ledger, "b")
    _gate(ledger, "c", 0.9)
    return _lines(store)


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        pytest.param(lambda lines: [*lines[:2], lines[2].replace("0.9", "0.8")], 3, id="a score"),
        pytest.param(lambda lines: [lines[0], lines[1].replace("rejected", "accepted"), lines[2]], 2, id="a verdict"),
        pytest.param(lambda lines: [lines[0], lines[2]], 2, id="a lost line"),
        pytest.param(lambda lines: [lines[0], lines[2], lines[1]], 2, id="another order"),
        pytest.param(lambda lines: lines[1:], 1, id="without its beginning"),
        pytest.param(lambda lines: [lines[0], lines[1][:-9], lines[2]], 2, id="cut in the middle"),
        pytest.param(lambda lines: [*lines, lines[2]], 4, id="a line twice"),
        pytest.param(lambda lines: [*lines, '{"kind": "Gate"}'], 4, id="another shape"),
        pytest.param(lambda lines: [*lines, "[" * 100_000], 4, id="nested without end"),
    ],
)
def test_what_was_changed_by_hand_is_named_kept_aside_and_mended_up_to_there(
    store: Store, three: list[str], edit: Any, line: int
) -> None:
    _write(store, edit(three))
    damaged = (store.folder / "ledger.jsonl").read_bytes()
    with pytest.raises(UserError, match=rf"ledger\.jsonl, line {line}: not as the gate wrote it.*prepare\.py"):
        Ledger(store, "m")
    said = mend(store)
    assert f"{line - 1} of {len(edit(three))} rows are kept" in said[1]
    assert [path.read_bytes() for path in store.folder.glob("ledger.jsonl.damaged-*")] == [damaged]
    assert _lines(store) == three[: line - 1]
    assert len(Ledger(store, "m").rows) == line - 1


@pytest.mark.parametrize(
    "later", [{"kind": "Oracle"}, {"mood": "calm"}, {"looks": [{"side": "candidate", "mood": 1}]}]
)
def test_a_row_of_a_later_version_is_said_to_be_that_and_left_alone(
    store: Store, three: list[str], later: dict[str, Any]
) -> None:
    """On 9a969fe it counted as damaged, and the next prepare.py cut it and all rows after it away."""
    row = {**json.loads(three[2]), **later}
    del row["sha256"]
    _write(store, [*three[:2], json.dumps({**row, "sha256": digest(row)})])
    before = (store.folder / "ledger.jsonl").read_bytes()
    for attempt in (lambda: Ledger(store, "m"), lambda: mend(store)):
        with pytest.raises(
            UserError, match=r"line 3: a later version of auto-harness wrote it: update this checkout"
        ):
            attempt()
    assert (store.folder / "ledger.jsonl").read_bytes() == before


def test_a_chain_that_was_made_anew_from_the_edited_line_on_is_another_chain(store: Store, three: list[str]) -> None:
    """It reads as whole: that is the limit. The hash that a commit named is in it no more."""
    rows = [json.loads(line) for line in three]
    assert rows[2]["previous"] == rows[1]["sha256"] and rows[1]["previous"] == rows[0]["sha256"]
    _write(store, three[:1])
    (store.folder / "ledger.head.json").unlink()
    _gate(Ledger(store, "m"), "c", 0.95)
    assert rows[2]["sha256"] not in _lines(store)[1]


def test_rows_that_are_missing_at_the_end_are_noticed(store: Store, three: list[str]) -> None:
    _write(store, three[:2])
    with pytest.raises(UserError, match="1 rows are missing at its end"):
        Ledger(store)
    assert "2 of 2 rows are kept" in mend(store)[1]
    assert len(Ledger(store, "m").rows) == 2


def test_a_last_line_that_only_its_end_is_missing_of_counts(store: Store, three: list[str]) -> None:
    path = store.folder / "ledger.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    ledger = Ledger(store, "m")
    assert len(ledger.rows) == 3
    _gate(ledger, "d")
    assert _lines(store)[:3] == three and len(Ledger(store, "m").rows) == 4


def test_a_whole_ledger_needs_no_mending(store: Store, three: list[str]) -> None:
    assert mend(store) == [] and _lines(store) == three


def test_a_reader_finds_a_whole_ledger_while_a_row_is_appended(tmp_path: Path) -> None:
    """The head is written after its row: a reader takes it first, or it would miss rows that are there."""
    store = Store(tmp_path / "race")
    ledger = Ledger(store, "m")
    ledger.append(Baseline("m", "a"))
    done = threading.Event()

    def append() -> None:
        for _ in range(60):
            ledger.append(Baseline("m", "a"))
        done.set()

    writer = threading.Thread(target=append)
    writer.start()
    while not done.is_set():
        assert list(read(store))
    writer.join()
    assert len(list(read(store))) == 61


def test_a_row_that_a_full_disk_cut_short_is_no_row_and_the_next_one_takes_its_place(tmp_path: Path) -> None:
    script = """
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_chain import read
from autoharness.vault.ledger_rows import Baseline, Record
from autoharness.vault.store import LEDGER, Store
store, spare, ends = Store(disk.folder / "vault"), disk.folder / "spare", set()
Ledger(store, "m").append(Baseline("m", "a"))
for pages in range(6):
    for words in ("w" * 100, "w" * 9000):
        spare.write_bytes(b"x" * 4096 * pages)
        with disk.filled():
            spare.unlink()
            try:
                ends.add(bool(Ledger(store, "m").append(Record("m", "a", measured=words))))
            except OSError:
                ends.add(False)
        whole = len(list(read(store)))
        Ledger(store, "m").append(Record("m", "a"))
        assert len(list(read(store))) == store.lines_written(LEDGER) == whole + 1
print(sorted(ends))
"""
    done = on_a_disk(tmp_path / "disk", 1, script)
    assert done.stdout == "[False, True]\n", done.stderr
