"""`python gating.py`: accepts, rejects, or leaves it open where infrastructure failed; it pays for nothing twice."""

import fcntl
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkout import Checkout
from conftest import TEMPLATE
from harnesses import BAD, GOOD_PROMPT
from llm_server import Fault, LLMServer
from solver import Solver

from autoharness.ledger import Ledger
from autoharness.store import Store
from autoharness.tau import Tau2

_PROMOTED = "update_task_with_initialization_actions"


def _rows(checkout: Checkout) -> list[Any]:
    return Ledger(Store(checkout.vault)).rows


def test_a_good_edit_is_accepted_and_recorded_and_a_bad_one_after_it_rejected(prepared: Checkout) -> None:
    prepared.agent.write_text(GOOD_PROMPT)
    gate = prepared.run("gating.py")
    assert (gate.returncode, gate.stdout.splitlines()) == (
        0,
        [
            "suite: empty",
            "val_score: 0.5000  (2/4 passed, 0 infra errors)",
            "best: 0.0000  (the baseline)",
            "promoted: 1 train tasks that used to fail",
            f"  PROMOTED  {_PROMOTED}",
            "reason: the regression suite is empty",
            "reason: held-out mean 0.5000 >= best 0.0000",
            "verdict: accepted",
            f"next: {sys.executable} record.py",
            "simulated: the models are programs (docs/offline.md); this is no benchmark result",
        ],
    )
    assert prepared.run("record.py").returncode == 0
    prepared.agent.write_text(BAD["hands over when in doubt"])
    gate = prepared.run("gating.py")
    assert gate.returncode == 1
    assert "best: 0.5000  (iteration 1)" in gate.stdout and "verdict: rejected" in gate.stdout
    assert "reason: suite 0/1 passed, pass rate 0.00 < threshold 0.80" in gate.stdout
    assert "reason: held-out mean 0.0000 < best 0.5000" in gate.stdout
    refused = prepared.run("record.py")
    assert (refused.returncode, "verdict on agent/agent.py was rejected" in refused.stderr) == (3, True)
    suite = json.loads((prepared.root / "workspace" / "suite.json").read_text())
    assert (suite["tasks"], suite["last_results"]) == ([_PROMOTED], {_PROMOTED: 0.0})
    assert [row.kind for row in _rows(prepared)] == ["baseline", "gate", "record", "gate"]


def test_an_unchanged_agent_is_nothing_to_gate(prepared: Checkout) -> None:
    done = prepared.run("gating.py")
    assert (done.returncode, done.stdout) == (3, "")
    assert "agent/agent.py is the baseline unchanged" in done.stderr


def test_what_was_measured_under_other_settings_is_no_baseline(prepared: Checkout) -> None:
    with (prepared.root / "experiment_config.yaml").open("a") as config:
        config.write("seed: 301\n")
    prepared.agent.write_text(GOOD_PROMPT)
    done = prepared.run("gating.py")
    assert done.returncode == 3 and "no baseline for mock test, 4 tasks" in done.stderr
    done = prepared.run("prepare.py")
    assert done.returncode == 3 and "start another one: prepare.py --new-experiment" in done.stderr
    assert prepared.run("prepare.py", "--new-experiment").returncode == 0
    results = (prepared.root / "workspace" / "results.tsv").read_text().splitlines()
    assert [line.split("\t")[:2] for line in results[1:]] == [["0", "0.0000"], ["0", "0.5000"]]


def test_null_runs_the_kept_version_against_itself(prepared: Checkout) -> None:
    prepared.agent.write_text("this is not even Python")
    done = prepared.run("gating.py", "--null")
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert done.returncode == 0
    assert lines["first"] == "0.0000  (0/4 passed, 0 infra errors)"
    assert lines["second"].endswith("passed, 0 infra errors)")
    assert lines["flipped"].endswith("of 4 tasks") and "points" in lines["noise_floor"]


def test_two_at_once_are_refused_by_a_lock_that_dies_with_its_holder(prepared: Checkout) -> None:
    with (prepared.vault / "lock").open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        for door in ("gating.py", "record.py", "prepare.py"):
            done = prepared.run(door)
            assert (done.returncode, "another command is at work" in done.stderr) == (3, True)
    assert "unchanged" in prepared.run("gating.py").stderr


@pytest.fixture
def solver_server(tau2: Tau2) -> Iterator[tuple[LLMServer, set[str]]]:
    """A server that solves the mock domain, but for requests in which one of the words in the set occurs."""
    down: set[str] = set()
    solver = Solver(tau2._tasks("mock").values())

    def answer(request: dict[str, Any]) -> Any:
        text = json.dumps(request)
        return Fault(503) if any(word in text for word in down) else solver.reply(request)

    with LLMServer(answer) as server:
        yield server, down


def test_with_a_real_client_an_outage_leaves_it_open_and_the_rest_is_paid_for_once(
    tmp_path: Path, tau2: Tau2, solver_server: tuple[LLMServer, set[str]]
) -> None:
    """A model name as in a real run, served from loopback: down at prepare, then for a single held-out task."""
    server, down = solver_server
    settings = "llm_retries: 0\nsimulation_retries: 0\nmax_concurrency: 1\n"
    checkout = Checkout.make(tmp_path, f"domain: mock\nagent_model: gpt-5.4\n{settings}")
    provider = {"OPENAI_API_BASE": server.url, "OPENAI_API_KEY": "the-key"}
    down.add("messages")
    prepare = checkout.run("prepare.py", **provider)
    assert prepare.returncode == 2 and "could not be evaluated" in prepare.stderr and not _rows(checkout)
    down.clear()
    assert checkout.run("prepare.py", **provider).stdout.startswith("baseline: 1.0000  (4/4 passed")
    checkout.agent.write_text(TEMPLATE.replace("helpful assistant", "helpful and careful assistant"))
    down.add(f"<<{tau2.facts('mock').splits['test'][0]}>>")
    before = len(server.requests)
    gate = checkout.run("gating.py", **provider)
    assert gate.returncode == 2 and "verdict: undecided" in gate.stdout
    assert "val_score: 1.0000  (3/3 passed, 1 infra errors)" in gate.stdout
    assert "update_task" not in gate.stdout + gate.stderr
    first = len(server.requests) - before
    down.clear()
    gate = checkout.run("gating.py", **provider)
    assert gate.returncode == 0 and "verdict: accepted" in gate.stdout and "simulated" not in gate.stdout
    assert 0 < len(server.requests) - before - first < first
