"""Train tasks by edits: each state apart from the others, and what an edit changed against its own incumbent."""

from dataclasses import replace
from pathlib import Path

import pytest

from autoharness.iterations import Edit, Iteration, Iterations
from autoharness.ledger import Ledger
from autoharness.overview import Overview
from autoharness.results import Outcome, Status, Trial
from autoharness.store import Store
from autoharness.task_map import Cell, State, groups_by_version, task_rows
from autoharness.trials import Trials
from benchmarks.report_vault import Night, make_night


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A baseline, and no edit yet."""
    return make_night(tmp_path / "vault", Night(0, ["a"]))


def _tried(store: Store, rewards: dict[str, list[float]], seen: dict[str, float | None] | None = None) -> None:
    """One edit more, with the rewards of its trials by task."""
    iterations, incumbent = Iterations(store), Ledger(store).versions[0].row.agent
    number = len(iterations.all()) + 1
    agent = store.keep_agent(f"# edit {number}\n".encode())
    for task_id, some in rewards.items():
        for place, reward in enumerate(some):
            _keep(store, agent, task_id, place, reward)
    iterations.save(
        Iteration(
            number, "measure", incumbent, "main", "scripted", edit=Edit(agent), after=seen or {}, end="refused",
            before={"a": 0.0, "b": 0.0, "c": 0.0}, started=f"2026-11-26T01:00:{number:02}+00:00", finished="then",
        )
    )  # fmt: skip


def _keep(store: Store, agent: str, task_id: str, number: int, reward: float) -> None:
    key = {"domain": "retail", "agent": agent, "task": task_id, "trial": number, "seed": number}
    status = Status.PASSED if reward == 1 else Status.FAILED
    store.keep(key, Outcome(Trial(task_id, number, number, agent), status, reward, termination="max_steps"))


def _cells(store: Store, task_id: str) -> list[Cell]:
    overview = Overview.of(store)
    rows = task_rows(overview, Trials(store).of(overview.ledger), ["a", "b", "c"])
    return list(next(row for row in rows if row.task_id == task_id).cells)


def test_each_state_is_told_apart(store: Store) -> None:
    _tried(store, {"a": [1.0], "b": [0.0]}, {"c": None})
    _tried(store, {"a": [1.0, 0.0, 1.0], "b": [0.5]})
    assert [cell.state for cell in _cells(store, "a")][1:] == [State.PASSED, State.FLAKY]
    assert [cell.state for cell in _cells(store, "b")] == [State.NOT_RUN, State.FAILED, State.FAILED]
    assert [cell.state for cell in _cells(store, "c")] == [State.NOT_RUN, State.LOST, State.NOT_RUN]
    assert _cells(store, "a")[2].words == "flaky, 2 of 3 trials passed"


def test_a_change_is_against_the_incumbent_and_never_about_a_flaky_task(store: Store) -> None:
    baseline = Ledger(store).versions[0].row.agent
    for task_id, reward in (("b", 0.0), ("c", 1.0)):
        _keep(store, baseline, task_id, 0, reward)
    _tried(store, {"b": [1.0], "c": [0.0]})
    _tried(store, {"b": [1.0], "c": [1.0, 0.0]})
    assert [cell.change for cell in _cells(store, "b")] == ["", "fixed", "fixed"]
    assert [cell.change for cell in _cells(store, "c")] == ["", "broken", ""]


def test_groups_count_each_task_once_by_its_first_failure(store: Store) -> None:
    overview = Overview.of(store)
    baseline = overview.baseline.row.agent
    for number, reward in enumerate([1.0, 0.0]):
        _keep(store, baseline, "b", number, reward)
    _keep(store, baseline, "c", 0, 0.0)
    found = groups_by_version(overview, Trials(store).of(overview.ledger), ["b", "c"])
    assert found == {"the conversation ended with max_steps": [1]}, "the second trial is not one of the score's"
    row = overview.baseline.row
    two = replace(row, experiment=row.experiment | {"trials": 2})
    overview.__dict__["baseline"] = replace(overview.baseline, row=two)
    assert groups_by_version(overview, Trials(store).of(overview.ledger), ["b", "c"]) == {
        "the conversation ended with max_steps": [2]
    }
