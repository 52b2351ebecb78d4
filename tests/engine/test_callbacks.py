"""Callbacks hear of everything in order, lose nothing, and get one record for each trial."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, TEMPLATE
from hypothesis import given
from hypothesis import strategies as st

from autoharness.core.outcomes import Outcome, Status, Trial, passed
from autoharness.engine.benchmark_runner import TauBenchRunner
from autoharness.engine.callbacks import Callback, Told
from autoharness.vault.store import Store
from benchmark import Callback as FromTheDoor

TASKS = ["create_task_1", "impossible_task_1"]


class Diary(Callback):
    """Writes down everything."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.said: dict[Trial, list[dict[str, Any]]] = {}
        self.outcomes: list[Outcome] = []

    def on_run_start(self, trials: Sequence[Trial]) -> None:
        self.lines.append(f"run of {len(trials)}")

    def on_task_start(self, task_id: str) -> None:
        self.lines.append(f"task {task_id}")

    def on_trial_start(self, trial: Trial) -> None:
        self.lines.append(f"trial {trial.task_id} {trial.number}")

    def on_message(self, trial: Trial, place: int, message: dict[str, Any]) -> None:
        said = self.said.setdefault(trial, [])
        assert place == len(said), "nothing broke this conversation off"
        said.append(message)

    def on_trial_end(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.lines.append(f"end of trial {outcome.trial.task_id} {outcome.trial.number}")

    def on_task_end(self, task_id: str, outcomes: Sequence[Outcome]) -> None:
        self.lines.append(f"end of task {task_id}, {len(outcomes)}")

    def on_run_end(self, outcomes: Sequence[Outcome]) -> None:
        self.lines.append(f"end of run of {len(outcomes)}")


class Broken(Callback):
    def on_trial_end(self, outcome: Outcome) -> None:
        raise RuntimeError(f"cannot write down {outcome.trial.task_id}")


@pytest.fixture
def runner(tmp_path: Path) -> Any:
    """Makes a runner of the offline model's mock domain, on a vault of the test's own."""
    agent_file = tmp_path / "agent.py"
    agent_file.write_text(TEMPLATE)

    def make(*callbacks: Callback, **settings: Any) -> TauBenchRunner:
        given: dict[str, Any] = {"trials": 2, "store": Store(tmp_path / "v"), "max_concurrency": 1} | settings
        return TauBenchRunner("mock", "offline/clerk", agent_file=agent_file, callbacks=callbacks, **given)

    return make


def _in_order(lines: list[str], runs: int) -> None:
    assert lines[0] == f"run of {runs}" and lines[-1] == f"end of run of {runs}"
    for task in TASKS:
        mine = [line for line in lines if task in line]
        assert mine[0] == f"task {task}" and mine[-1] == f"end of task {task}, 2"
        assert sorted(mine[1:-1]) == sorted(
            f"{what} {task} {n}" for what in ("trial", "end of trial") for n in (0, 1)
        )
        for number in (0, 1):
            assert mine.index(f"trial {task} {number}") < mine.index(f"end of trial {task} {number}")


@pytest.mark.slow
def test_runs_tasks_trials_and_messages_are_told_as_they_come_and_again_from_the_vault(runner: Any) -> None:
    diary = Diary()
    outcomes = runner(diary).run_trials(TASKS)
    _in_order(diary.lines, 4)
    assert sorted(diary.outcomes, key=repr) == sorted(outcomes, key=repr)
    for outcome in outcomes:
        told = [(one["role"], one.get("content"), one.get("tool_calls")) for one in diary.said[outcome.trial]]
        assert told == [(one["role"], one.get("content"), one.get("tool_calls")) for one in outcome.messages]
    again = Diary()
    rewards = runner(again).run(TASKS)
    _in_order(again.lines, 4)
    assert not again.said, "nothing was said again"
    assert [one.reward for one in again.outcomes] == [one.reward for one in outcomes]
    assert rewards == {
        task: sum(one.reward for one in outcomes if one.trial.task_id == task) / 2 for task in dict.fromkeys(TASKS)
    }


@pytest.mark.slow
def test_a_trials_record_has_all_of_it(runner: Any) -> None:
    for outcome in runner().run_trials(TASKS):
        assert outcome.trial.seed and outcome.trial.agent and outcome.started
        assert outcome.status in (Status.PASSED, Status.FAILED, Status.AGENT_ERROR)
        assert (outcome.status == Status.PASSED) == passed(outcome.reward)
        assert outcome.usage["agent"].calls and outcome.messages[0]["role"] == "assistant"


@pytest.mark.slow
def test_what_a_callback_raises_costs_no_trial_and_is_raised_in_the_end(
    runner: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Others still hear of everything, its traceback is printed once, and the next run has the trials."""
    diary = Diary()
    with pytest.raises(RuntimeError, match="cannot write down"):
        runner(Broken(), diary).run(TASKS)
    _in_order(diary.lines, 4)
    assert capsys.readouterr().err.count("Traceback") == 1
    assert len(runner().run(TASKS)) == 2
    assert "4 of 4 simulations are in the store already" in capsys.readouterr().err


def test_they_are_imported_from_the_door() -> None:
    assert FromTheDoor is Callback
    assert (ROOT / "benchmark.py").exists()


@given(st.lists(st.integers(0, 5), min_size=1), st.randoms())
def test_each_task_and_trial_starts_once_and_ends_once_whatever_the_order(tasks: list[int], order: Any) -> None:
    """A trial that is begun a second time, since its worker died, is told once."""
    trials = [Trial(str(task), number, number) for number, task in enumerate(tasks)]
    diary = Diary()
    told = Told([diary], trials)
    for trial in order.sample([*trials, *trials], 2 * len(trials)):
        told.begun(trial)
    for trial in order.sample(trials, len(trials)):
        told.ended(Outcome(trial, Status.PASSED, 1.0))
    assert len(diary.lines) == len(set(diary.lines)) == 2 * len(trials) + 2 * len(set(tasks))
