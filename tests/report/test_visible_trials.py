"""The vault's trials of one measure, each file read once; and which tasks anybody may see."""

import json
from pathlib import Path

import pytest

from autoharness.core.outcomes import Outcome, Status, Trial
from autoharness.report.visible_trials import Trials, train_tasks
from autoharness.vault.iterations import Iterations
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Baseline, Confirmation
from autoharness.vault.store import Store
from perf.report_vault import HELD_OUT, MEASURE, Night, make_night

TASKS = ["2", "10", "1"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_night(tmp_path / "vault", Night(2, TASKS))


def test_they_come_in_the_order_of_tasks_and_without_conversations(store: Store) -> None:
    found = Trials(store).of(Ledger(store))
    tasks = list(dict.fromkeys(kept.outcome.trial.task_id for kept in found))
    assert tasks == ["1", "2", "10", *HELD_OUT]
    assert not any(kept.outcome.messages for kept in found)
    assert all(kept.read().messages and kept.size > 0 for kept in found)
    assert {kept.wrong for kept in found if kept.outcome.reward == 1} == {""}
    assert {kept.wrong for kept in found if kept.outcome.reward == 0} == {
        "a reference call was not made, or not so: return_item"
    }


def test_those_of_another_measure_are_not_among_them(store: Store) -> None:
    before = len(Trials(store).of(Ledger(store)))
    agent = Ledger(store).versions[0].row.agent
    key = {"domain": "retail", "models": "others", "agent": agent, "task": "1", "trial": 0, "seed": 0}
    store.keep(key, Outcome(Trial("1", 0, 0, agent), Status.PASSED, 1.0))
    assert len(Trials(store).of(Ledger(store))) == before


def test_a_file_is_read_once_and_a_new_one_is_found(store: Store) -> None:
    trials = Trials(store)
    before = trials.of(Ledger(store))
    for kept in before:
        kept.path.write_text("not to be read again")
    agent = Ledger(store).versions[0].row.agent
    key = {"domain": "retail", "agent": agent, "task": "1", "trial": 7, "seed": 0}
    store.keep(key, Outcome(Trial("1", 7, 0, agent), Status.PASSED, 1.0))
    after = trials.of(Ledger(store))
    assert len(after) == len(before) + 1
    assert next(kept for kept in after if kept not in before).outcome.trial.number == 7


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"key": {}, "outcome": 1}', "[" * 100_000])
def test_a_damaged_file_is_none(content: str, store: Store) -> None:
    before = Trials(store).of(Ledger(store))
    (store.folder / "trials" / "damaged.json").write_text(content)
    assert Trials(store).of(Ledger(store)) == before


def test_train_tasks_are_never_held_out_ones(store: Store) -> None:
    """Not even where a row, or another measure's, says both: settings change, and what was held out stays hidden."""
    ledger = Ledger(store, MEASURE)
    assert train_tasks(ledger, Iterations(store).all()) == ["1", "2", "10"]
    domain = {"domain": "retail"}
    ledger.append(Baseline("another", "a", experiment=domain, tasks=["2"], train={"3": 1.0}))
    assert train_tasks(Ledger(store, MEASURE), Iterations(store).all()) == ["1", "10"]
    ledger.append(Confirmation(MEASURE, "a", experiment=domain, tasks=["10"]))
    assert train_tasks(Ledger(store, MEASURE), Iterations(store).all()) == ["1"]
    ledger.append(Baseline("third", "a", experiment={"domain": "airline"}, tasks=["1"]))
    assert train_tasks(Ledger(store, MEASURE), Iterations(store).all()) == ["1"]


def test_before_anything_was_measured_there_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path / "empty")
    assert Trials(store).of(Ledger(store)) == []
    (store.folder / "trials" / "x.json").write_text(json.dumps({"key": {}, "outcome": {}}))
    assert Trials(store).of(Ledger(store)) == []
