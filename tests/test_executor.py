"""Worker processes: fed, replaced when they die, ended with the door."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import TEMPLATE
from llm_server import LLMServer
from solver import Solver

from autoharness.config import Experiment
from autoharness.errors import SetupError
from autoharness.executor import LocalExecutor
from autoharness.results import Status, Trial
from autoharness.tau import Tau2

TASKS = ["create_task_1", "update_task_1", "impossible_task_1", "create_task_1_with_env_assertions"]
TRIALS = [Trial(task_id, 0, 1) for task_id in TASKS]


@pytest.fixture
def gate(tau2: Tau2, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The server answers while this event is set."""
    solver, gate = Solver(tau2._tasks("mock").values()), threading.Event()

    def reply(request: dict[str, Any]) -> dict[str, Any]:
        gate.wait(60)
        return solver.reply(request)

    with LLMServer(reply) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        yield gate
        gate.set()


def executor(folder: Path, **settings: Any) -> LocalExecutor:
    return LocalExecutor(
        Experiment(domain="mock", agent_model="openai/x", max_concurrency=4, **settings), {"": TEMPLATE}, folder
    )


def test_a_worker_that_is_killed_costs_only_its_simulations_in_flight(tmp_path: Path, gate: threading.Event) -> None:
    """They are run again in another worker; every trial has exactly one outcome."""
    with executor(tmp_path) as machine:
        machine.facts("mock")
        victim = machine._workers[0].process

        def kill() -> None:
            while not machine._workers[0].jobs:
                time.sleep(0.01)
            os.kill(victim.pid, signal.SIGKILL)
            victim.wait()
            gate.set()

        threading.Thread(target=kill, daemon=True).start()
        outcomes = list(machine.run(TRIALS, diagnose=set()))
    assert sorted(outcome.trial.task_id for outcome in outcomes) == sorted(TASKS)
    assert {outcome.status for outcome in outcomes} == {Status.PASSED}


def test_leaving_the_executor_ends_its_workers(tmp_path: Path, gate: threading.Event) -> None:
    with executor(tmp_path) as machine:
        machine.facts("mock")
        processes = [worker.process for worker in machine._workers]
    assert all(process.poll() is not None for process in processes)


def test_a_worker_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "loguru.py").write_text("raise RuntimeError('this loguru is broken')")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    with executor(tmp_path) as machine, pytest.raises(SetupError, match="this loguru is broken"):
        machine.facts("mock")


def test_other_agent_files_can_be_used_after_a_while_also_where_a_worker_has_died_meanwhile(
    tmp_path: Path, gate: threading.Event
) -> None:
    """A loop keeps its workers all night, while coding agents are at work for half an hour each."""
    gate.set()
    with executor(tmp_path) as machine:
        assert [one.status for one in machine.run(TRIALS[:1], diagnose=set())] == [Status.PASSED]
        machine._workers[0].process.kill()
        machine._workers[0].process.wait()
        broken = TEMPLATE.replace("answer = generate(", "answer = None.generate(")
        machine.use({"one": TEMPLATE, "two": broken})
        trials = [Trial("create_task_1", 0, 1, "one"), Trial("create_task_1", 0, 1, "two")]
        ends = {one.trial.agent: one.status for one in machine.run(trials, diagnose=set())}
        assert ends == {"one": Status.PASSED, "two": Status.AGENT_ERROR}
        machine.use({"three": broken})
        last = [Trial("create_task_1", 0, 1, "three")]
        assert [one.status for one in machine.run(last, diagnose=set())] == [Status.AGENT_ERROR]
