"""Worker processes: fed, replaced when they die, ended with the door."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, TEMPLATE
from executors import TASKS, TRIALS, executor, kill_worker, wait_for_pid
from llm_server import LLMServer
from solver import Solver

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.core.errors import SetupError
from autoharness.core.outcomes import Status, Trial
from autoharness.core.settings import Experiment
from autoharness.engine.executor import LocalExecutor


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


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_only_its_simulations_in_flight(tmp_path: Path, gate: threading.Event) -> None:
    """They are run again in another worker; every trial has exactly one outcome."""
    with executor(tmp_path) as machine:
        machine.facts("mock")

        def kill() -> None:
            while not machine._workers[0].jobs:
                time.sleep(0.01)
            kill_worker(machine._workers[0])
            gate.set()

        threading.Thread(target=kill, daemon=True).start()
        outcomes = list(machine.run(TRIALS, diagnose=set()))
    assert sorted(outcome.trial.task_id for outcome in outcomes) == sorted(TASKS)
    assert {outcome.status for outcome in outcomes} == {Status.PASSED}


@pytest.mark.slow
def test_leaving_the_executor_ends_its_workers(tmp_path: Path, gate: threading.Event) -> None:
    with executor(tmp_path) as machine:
        machine.facts("mock")
        pids = [wait_for_pid(worker) for worker in machine._workers]
        assert machine._forkserver
        pids.append(machine._forkserver._process.pid)
    assert pids and not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_worker_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "loguru.py").write_text("raise RuntimeError('this loguru is broken')")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    with executor(tmp_path) as machine, pytest.raises(SetupError, match="this loguru is broken"):
        machine.facts("mock")


@pytest.mark.slow
def test_other_agent_files_can_be_used_after_a_while_also_where_a_worker_has_died_meanwhile(
    tmp_path: Path, gate: threading.Event
) -> None:
    """A loop keeps its workers all night, while coding agents are at work for half an hour each."""
    gate.set()
    with executor(tmp_path) as machine:
        assert [one.status for one in machine.run(TRIALS[:1], diagnose=set())] == [Status.PASSED]
        kill_worker(machine._workers[0])
        broken = TEMPLATE.replace("answer = generate(", "answer = None.generate(")
        machine.use({"one": TEMPLATE, "two": broken})
        trials = [Trial("create_task_1", 0, 1, "one"), Trial("create_task_1", 0, 1, "two")]
        ends = {one.trial.agent: one.status for one in machine.run(trials, diagnose=set())}
        assert ends == {"one": Status.PASSED, "two": Status.AGENT_ERROR}
        machine.use({"three": broken})
        last = [Trial("create_task_1", 0, 1, "three")]
        assert [one.status for one in machine.run(last, diagnose=set())] == [Status.AGENT_ERROR]


@pytest.mark.slow
def test_a_worker_that_is_stuck_is_ended_and_its_simulations_run_elsewhere(
    tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoharness.engine.executor._LONGEST_SILENCE_S", 8.0)  # a worker is heard of every five
    with executor(tmp_path) as machine:
        machine.facts("mock")
        stuck = wait_for_pid(machine._workers[0])

        def stop() -> None:
            while not machine._workers[0].jobs:
                time.sleep(0.01)
            os.kill(stuck, signal.SIGSTOP)
            gate.set()

        threading.Thread(target=stop, daemon=True).start()
        outcomes = list(machine.run(TRIALS, diagnose=set()))
    assert sorted(outcome.trial.task_id for outcome in outcomes) == sorted(TASKS)
    assert {outcome.status for outcome in outcomes} == {Status.PASSED}


@pytest.mark.slow
def test_the_door_is_killed_and_nothing_is_left(tmp_path: Path) -> None:
    """Neither the fork server nor its workers."""
    code = (
        "import sys, time; from pathlib import Path; from autoharness.core.settings import Experiment;"
        "from autoharness.engine.executor import LocalExecutor;"
        f"one = LocalExecutor(Experiment(domain='mock', agent_model='offline/clerk'), Path({str(tmp_path)!r}));"
        "one.facts('mock'); one._start_worker();"
        "[time.sleep(0.01) for _ in range(10**6) if not all(worker.pid for worker in one._workers)];"
        "print(one._forkserver._process.pid, *[worker.pid for worker in one._workers], flush=True); time.sleep(600)"
    )
    door = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert door.stdout
    pids = door.stdout.readline().split()
    assert len(pids) == 3
    door.kill()
    door.wait()
    deadline = time.monotonic() + 15
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.slow
def test_workers_that_are_started_one_by_one_do_the_same(
    tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS."""
    monkeypatch.setattr("autoharness.engine.forkserver_process.START_METHOD", "spawn")
    gate.set()
    with executor(tmp_path) as machine:
        assert machine.facts("mock")["domain"] == "mock"
        assert {one.status for one in machine.run(TRIALS, diagnose=set())} == {Status.PASSED}


def test_without_a_provider_nothing_of_litellm_is_imported(tmp_path: Path) -> None:
    """Its import takes longer than a short run."""
    experiment = Experiment(domain="mock", agent_model="offline/clerk")
    with LocalExecutor(experiment, tmp_path) as machine:
        machine.use({"": TEMPLATE})
        outcomes = list(machine.run([Trial("create_task_1", 0, 1)], diagnose=set()))
        maps = Path(f"/proc/{wait_for_pid(machine._workers[0])}/smaps_rollup").read_text()
    assert outcomes[0].status in (Status.PASSED, Status.FAILED)
    resident_kb = int(maps.split("Rss:")[1].split()[0])
    assert resident_kb < 150_000  # with it, 250 MB


def test_workers_are_not_ended_because_the_door_stood_still(tmp_path: Path) -> None:
    """Ctrl-Z for an hour: what they said meanwhile is there, and unread."""
    with LocalExecutor(Experiment(domain="mock", agent_model="offline/clerk"), tmp_path) as machine:
        machine.facts("mock")
        worker = machine._workers[0]
        pid = wait_for_pid(worker)
        worker.heard = machine._looked = time.monotonic() - 3600
        machine._end_silent_ones()
        assert not worker.ended and Path(f"/proc/{pid}").exists()
        worker.heard = time.monotonic() - 3600
        machine._end_silent_ones()
        while not worker.ended:
            time.sleep(0.01)


def test_a_worker_that_is_not_forked_yet_is_waited_for(tmp_path: Path) -> None:
    """An import takes minutes on a slow disk."""
    with LocalExecutor(Experiment(domain="mock", agent_model="offline/clerk"), tmp_path) as machine:
        worker = machine._start_worker()
        machine._looked = time.monotonic()
        worker.heard = time.monotonic() - 200
        machine._end_silent_ones()
        assert machine.facts("mock")["domain"] == "mock" and worker.ready


@pytest.mark.slow
def test_workers_that_cannot_start_end_the_run_with_their_own_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No trial is lost by it, and no worker is started for each: on 9a969fe 303 were, for 100 trials."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "loguru.py").write_text("raise RuntimeError('this loguru is broken')")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    with executor(tmp_path) as machine, pytest.raises(SetupError, match=r"in a row .* this loguru is broken"):
        list(machine.run(TRIALS * 25, diagnose=set()))
    assert machine._worker_count <= 6


@pytest.mark.slow
def test_a_question_that_nobody_answers_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that hangs, or a benchmark's own `splits`."""
    hangs = tmp_path / "hangs"
    hangs.mkdir()
    (hangs / "loguru.py").write_text("import time\nprint('here it hangs', flush=True)\ntime.sleep(600)")
    monkeypatch.setenv("PYTHONPATH", str(hangs))
    monkeypatch.setattr("autoharness.engine.workers._LONGEST_ANSWER_S", 3.0)
    with executor(tmp_path) as machine, pytest.raises(SetupError, match="not answer within 3 s: here it hangs"):
        machine.facts("mock")


@pytest.mark.slow
def test_a_job_that_ends_every_worker_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They start, and die of their first simulation, as of a benchmark that breaks the interpreter."""
    monkeypatch.setattr("autoharness.engine.executor._MOST_DEATHS", 4)
    with executor(tmp_path) as machine:
        begin = machine._begin

        def kill(*arguments: Any) -> bool:
            begun = begin(*arguments)
            kill_worker(arguments[1])
            return begun

        monkeypatch.setattr(machine, "_begin", kill)
        with pytest.raises(SetupError, match="4 workers in a row have ended"):
            list(machine.run(TRIALS * 25, diagnose=set()))
