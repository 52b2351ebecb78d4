"""Train tasks by edits: each state apart from the others, and what an edit changed against its own incumbent."""

from pathlib import Path

import pytest

from autoharness.core.outcomes import Outcome, Status, Trial
from autoharness.report.overview import Overview
from autoharness.report.task_map import Cell, State, TaskMap
from autoharness.report.visible_trials import Trials
from autoharness.vault.iterations import Edit, Iteration, Iterations
from autoharness.vault.ledger import Ledger
from autoharness.vault.store import Store
from perf.report_vault import Night, make_night

TASKS = ["a", "b", "c"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A baseline that nothing was run with, and no edit yet."""
    return _empty(tmp_path, trials=1)


@pytest.fixture
def twice(tmp_path: Path) -> Store:
    """The same, where a score is two trials of each task."""
    return _empty(tmp_path, trials=2)


def _empty(folder: Path, trials: int) -> Store:
    return make_night(folder / "vault", Night(0, [], trials=trials))


def _baseline(store: Store) -> str:
    return Ledger(store).versions[0].row.agent


def _edit(store: Store, incumbent: str = "", **fields: object) -> str:
    """One edit more; returns its agent file."""
    iterations = Iterations(store)
    number = len(iterations.all()) + 1
    agent = store.keep_agent(f"# edit {number}\n".encode())
    edit = Edit(agent, fixes=list(fields.pop("fixes", [])), breaks=list(fields.pop("breaks", [])))  # type: ignore[call-overload]
    known = {"end": "refused", "started": f"2026-11-26T01:00:{number:02}+00:00", "finished": "then"} | fields
    iterations.save(
        Iteration(number, "measure", incumbent or _baseline(store), "main", "scripted", edit=edit, **known)  # type: ignore[arg-type]
    )
    return agent


def _run(store: Store, agent: str, **rewards: list[float]) -> None:
    """By task: the rewards of its trials, from number 0 on."""
    for task_id, some in rewards.items():
        for number, reward in enumerate(some):
            key = {"domain": "retail", "agent": agent, "task": task_id, "trial": number, "seed": number}
            status = Status.PASSED if reward == 1 else Status.FAILED
            trial = Trial(task_id, number, number, agent)
            store.keep(key, Outcome(trial, status, reward, termination=f"ended_{task_id}_{number}"))


def _map(store: Store) -> TaskMap:
    overview = Overview.of(store)
    return TaskMap(overview, Trials(store).of(overview.ledger), TASKS)


def _states(store: Store, task_id: str) -> list[State]:
    return [cell.state for cell in _map(store).row(task_id)]


def test_each_state_is_told_apart(twice: Store) -> None:
    _run(twice, _baseline(twice), a=[1.0, 1.0], b=[0.0, 0.5])
    _run(twice, _edit(twice, after={"c": None}), a=[1.0, 0.0])
    assert _states(twice, "a") == [State.PASSED, State.PARTLY]
    assert _states(twice, "b") == [State.FAILED, State.NOT_RUN]
    assert _states(twice, "c") == [State.NOT_RUN, State.LOST]


def test_what_infrastructure_took_of_a_version_is_lost_with_it(twice: Store) -> None:
    """Even where one of its trials is there: the task has no result."""
    _run(twice, _baseline(twice), a=[1.0])
    _edit(twice, before={"a": None, "b": 1.0})
    assert _states(twice, "a")[0] == State.LOST
    assert _states(twice, "b")[0] == State.NOT_RUN


def test_further_trials_tell_what_flakes_and_change_no_result(store: Store) -> None:
    _run(store, _baseline(store), a=[1.0, 0.0, 0.0], b=[0.0, 0.0], c=[0.0, 1.0])
    assert [_map(store).row(task_id)[0] for task_id in TASKS] == [
        Cell(State.PASSED, 1.0, flaky=True),
        Cell(State.FAILED, 0.0),
        Cell(State.FAILED, 0.0, flaky=True),
    ]
    assert _map(store).repeated == (3, 2)


def test_a_change_is_against_the_edit_s_own_incumbent(store: Store) -> None:
    """The second edit starts from the first, and has its incumbent's results."""
    _run(store, _baseline(store), a=[0.0], b=[1.0], c=[1.0])
    first = _edit(store)
    _run(store, first, a=[1.0], b=[0.0])
    _run(store, _edit(store, incumbent=first), a=[1.0], b=[1.0], c=[0.0])
    found = _map(store)
    assert [[cell.change for cell in found.row(task_id)] for task_id in TASKS] == [[0, 1, 0], [0, -1, 1], [0, 0, 0]]
    one, other = Overview.of(store).attempts
    assert found.changes(one) == (["a"], ["b"])
    assert found.changes(other) == (["b"], [])


def test_a_change_counts_the_trials_that_both_have(twice: Store) -> None:
    _run(twice, _baseline(twice), a=[0.0, 1.0], b=[0.0, 0.0])
    _run(twice, _edit(twice), a=[0.0], b=[0.0, 1.0])
    assert [_map(twice).row(task_id)[1].change for task_id in ("a", "b")] == [0, 1]


def test_predictions_count_what_was_run_with_both(store: Store) -> None:
    _run(store, _baseline(store), a=[0.0], b=[0.0], c=[1.0])
    _run(store, _edit(store, fixes=["a", "b", "elsewhere"], breaks=["c"]), a=[1.0], b=[0.0], c=[0.0])
    _run(store, _edit(store, fixes=["a"]), b=[1.0], c=[0.0])
    _edit(store, fixes=["a"])
    first, second = _map(store).predictions
    assert (first.named, first.run, first.fixed, first.besides, first.broken, first.foreseen) == (2, 2, 1, 0, 1, 1)
    assert (second.named, second.run, second.fixed, second.besides, second.broken, second.foreseen) == (
        1,
        0,
        0,
        1,
        1,
        0,
    )


def test_what_repeats_an_earlier_edit_changes_and_predicts_nothing(store: Store) -> None:
    """Its agent file's trials are the earlier one's."""
    _run(store, _baseline(store), a=[0.0])
    agent = _edit(store, fixes=["a"])
    _run(store, agent, a=[1.0])
    iterations = Iterations(store)
    last = iterations.all()[-1]
    iterations.save(
        type(last)(**vars(last) | {"number": 2, "end": "repeated", "started": "2026-11-26T02:00:00+00:00"})
    )
    found = _map(store)
    assert [cell.change for cell in found.row("a")] == [0, 1, 0]
    assert [one.attempt.short for one in found.predictions] == ["1"]


def test_what_was_lost_and_is_there_by_now_is_not_lost(store: Store) -> None:
    _run(store, _baseline(store), a=[0.0], b=[0.0])
    _run(store, _edit(store, after={"a": None, "b": None}), a=[1.0])
    assert _map(store).row("a")[1] == Cell(State.PASSED, 1.0, change=1)
    assert _map(store).row("b")[1] == Cell(State.LOST)


def test_groups_are_of_versions_and_tasks_that_compare(store: Store) -> None:
    """By the first trial that failed among those that make a score."""
    _run(store, _baseline(store), a=[1.0, 0.0], b=[0.0, 0.0], c=[0.0])
    assert _map(store).groups == {
        "the conversation ended with ended_b_0": [1],
        "the conversation ended with ended_c_0": [1],
    }
    assert _map(store).complete == [_baseline(store)]


def test_a_version_that_was_run_on_a_part_is_left_out_of_the_groups(tmp_path: Path) -> None:
    store = make_night(tmp_path / "vault", Night(4, ["a", "b", "c"]))
    best = Ledger(store).best.row.agent
    for kept in Trials(store).of(Ledger(store)):
        if kept.outcome.trial.agent == best and kept.outcome.trial.task_id in ("a", "b"):
            kept.path.unlink()
    assert len(Ledger(store).versions) == 2
    assert _map(store).complete == [_baseline(store)]
    assert all(len(counts) == 1 for counts in _map(store).groups.values())


def test_the_first_failed_trial_of_a_score_names_the_group(twice: Store) -> None:
    _run(twice, _baseline(twice), a=[1.0, 0.0, 0.0], b=[0.0, 0.0], c=[1.0, 1.0])
    assert set(_map(twice).groups) == {
        "the conversation ended with ended_a_1",
        "the conversation ended with ended_b_0",
    }
