"""The runner against real conversations of real models, and against every task's own reference actions."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import RECORDINGS, ROOT, TEMPLATE
from llm_server import LLMServer
from reference_actions import WITHOUT_EFFECT, changing_actions
from solver import Solver

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.core.errors import UserError
from autoharness.core.files import write_json
from autoharness.core.outcomes import Trial
from autoharness.core.settings import Experiment
from autoharness.engine.benchmark_runner import BenchmarkRunner, TauBenchRunner
from autoharness.engine.trial_runner import last_statuses, longest_first
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Baseline
from autoharness.vault.store import Store

EVERYTHING = os.environ.get("AUTOHARNESS_FULL_TESTS") == "1"


@pytest.fixture
def runner(tmp_path: Path) -> Any:
    """Makes a TauBenchRunner with the pristine agent."""
    agent_file = tmp_path / "agent.py"
    agent_file.write_text(TEMPLATE)

    def make(domain: str, model: str, **settings: Any) -> TauBenchRunner:
        return TauBenchRunner(domain, model, agent_file=agent_file, **{"max_concurrency": 8} | settings)

    return make


def published(name: str) -> dict[str, float]:
    simulations = json.loads((RECORDINGS / f"{name}.json").read_text())["simulations"]
    return {one["task_id"]: one["reward_info"]["reward"] for one in simulations}


@pytest.mark.skipif(not RECORDINGS.exists(), reason="the published recordings are not beside this checkout")
def test_a_conversation_that_leaves_its_recording_says_where(runner: Any) -> None:
    """In three tasks of this file a tool words its error otherwise today; the other 47 score as published."""
    name = "airline-base-gpt-oss-120b"
    tasks = ["8", "20", "42"] if not EVERYTHING else list(published(name))
    with runner("airline", f"replay/{RECORDINGS / name}.json", split="base").open() as bench:
        run = bench.run(tasks, "test")
    left = {outcome.trial.task_id: outcome.detail for outcome in run.outcomes if outcome.reward is None}
    assert set(left) == {"8", "20", "42"}
    assert "message 19 of task 8" in left["8"] and "errors.pydantic.dev" in left["8"]
    assert {task_id: run.rewards[task_id] for task_id in tasks if task_id not in left} == {
        task_id: reward for task_id, reward in published(name).items() if task_id in tasks and task_id not in left
    }


@pytest.fixture
def solve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Serves a Solver at `openai/solver`."""
    servers: list[LLMServer] = []

    def start(solver: Solver) -> None:
        servers.append(LLMServer(solver.reply).__enter__())
        monkeypatch.setenv("OPENAI_API_BASE", servers[-1].url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")

    yield start
    for server in servers:
        server.__exit__()


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["airline", "retail", "telecom"])
def test_every_task_is_solved_by_its_reference_actions(runner: Any, solve: Any, tau2: Tau2, domain: str) -> None:
    """All 278 tasks of train and test, through gateway and host; every twentieth without AUTOHARNESS_FULL_TESTS=1."""
    tasks = {task_id: tau2._tasks(domain)[task_id] for task_id in tau2.facts(domain).splits["base"]}
    chosen = list(tasks) if EVERYTHING else list(tasks)[::20]
    solve(Solver(tasks.values()))
    rewards = runner(domain, "openai/solver").run(chosen)
    assert {task_id for task_id, reward in rewards.items() if reward != 1.0} == set()
    assert len(rewards) == len(chosen)


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["airline", "retail", "telecom"])
def test_a_task_without_one_of_its_reference_actions_scores_0(
    runner: Any, solve: Any, tau2: Tau2, domain: str
) -> None:
    """Each action that changes the database, one at a time; the exceptions are listed with their reasons.

    Without AUTOHARNESS_FULL_TESTS=1: the first such action of every 25th task.
    """
    tasks, changing = tau2._tasks(domain), changing_actions(tau2, domain)
    tried, harmless = set(), set()
    for nth in range(max(map(len, changing.values())) if EVERYTHING else 1):
        left_out = {task_id: actions[nth] for task_id, actions in changing.items() if len(actions) > nth}
        if not EVERYTHING:
            left_out = dict(list(left_out.items())[::25])
        solve(Solver((tasks[task_id] for task_id in left_out), leave_out=left_out))
        rewards = runner(domain, "openai/solver", seed=nth).run(list(left_out))
        tried |= set(left_out.items())
        harmless |= {(task_id, left_out[task_id]) for task_id, reward in rewards.items() if reward != 0.0}
    listed = {(task_id, index) for task_id, reasons in WITHOUT_EFFECT[domain].items() for index in reasons}
    assert harmless == listed & tried


@pytest.mark.slow
def test_several_trials_give_the_mean(runner: Any, tmp_path: Path) -> None:
    """Over the trials that could be evaluated: the recording has one trial, so the second has no reward."""
    recording = f"replay/{ROOT / 'examples' / 'recording.json'}"
    machine = runner("airline", recording, trials=2, simulation_retries=0, max_concurrency=1)
    with machine.open() as bench:
        run = bench.run(["10", "20"], "test")
    assert sorted(
        (one.trial.task_id, one.trial.number, one.reward) for one in run.outcomes if one.reward is not None
    ) == [
        ("10", 0, 1.0),
        ("20", 0, 0.0),
    ]
    assert run.rewards == {"10": 1.0, "20": 0.0}
    assert len({one.trial.seed for one in run.outcomes}) == 2


def test_settings_fall_back_as_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TauBenchRunner("retail").experiment.agent_model == "gpt-5.4"
    monkeypatch.setenv("AGENT_MODEL", "openai/from-the-environment")
    experiment = TauBenchRunner(domain="retail", user_model=None).experiment
    assert experiment.agent_model == experiment.model_of("user") == "openai/from-the-environment"
    assert (experiment.split, experiment.max_concurrency, experiment.seed) == ("test", 3, 300)
    with pytest.raises(UserError, match="max_steps"):
        TauBenchRunner("retail", max_stepz=3)


class _Fixed(BenchmarkRunner):
    def run(self, task_ids: list[str] | None = None) -> dict[str, float | None]:
        return {"a": 1.0, "b": 0.0, "c": None}


def test_the_val_score_leaves_out_what_was_not_evaluated() -> None:
    assert _Fixed().val_score(_Fixed().run()) == 0.5
    assert _Fixed().val_score({"c": None}) == 0.0


def test_the_newest_run_of_each_task_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number, outcomes in enumerate([{"1": "failed", "2": "failed"}, {"1": "passed"}]):
        run = store.new_run()
        rows = [{"task": task_id, "status": status} for task_id, status in outcomes.items()]
        document = {"experiment": {"domain": "retail"}, "agent": "a", "outcomes": rows, "number": number}
        (run / "run-001.json").write_text(json.dumps(document))
    assert last_statuses(store, Experiment(domain="retail")) == {"1": {"passed"}, "2": {"failed"}}
    assert last_statuses(store, Experiment(domain="airline")) == {}


@pytest.mark.slow
def test_what_was_held_out_under_other_settings_stays_hidden(tmp_path: Path, tau2: Tau2) -> None:
    """A look before anything is run, which the loop takes its train tasks from, knows it as a run does."""
    store, train = Store(tmp_path / "vault"), tau2.facts("mock").splits["train"]
    Ledger(store).append(Baseline("of another time", "", experiment={"domain": "mock"}, tasks=train[:2]))
    runner = TauBenchRunner("mock", "offline/clerk", agent_file=ROOT / "agent" / "agent.py", store=store)
    assert runner.look().measure.train == runner.measure().train == train[2:]


def test_what_took_the_most_llm_calls_is_begun_first(tmp_path: Path) -> None:
    """By the newest run; what was never run before all, and otherwise the order stays."""
    store = Store(tmp_path)
    for number, calls in enumerate([{"a": 1, "b": 2, "c": 30}, {"b": 20, "c": 3}]):
        outcomes = [{"task": task, "llm_calls": count} for task, count in calls.items()]
        run = {"experiment": {"domain": "mock"}, "outcomes": outcomes}
        write_json(store.new_run() / f"run-{number:03}.json", run)
    write_json(store.new_run() / "run-001.json", {"experiment": {"domain": "retail"}, "outcomes": [{"task": "a"}]})
    trials = [Trial(task, number, 1) for number in range(2) for task in "abcd"]
    assert "".join(trial.task_id for trial in longest_first(trials, store, Experiment(domain="mock"))) == "ddbbccaa"
