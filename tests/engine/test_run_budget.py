"""The limits max_run_*: beyond them no simulation is begun, and nothing is decided from a part of the trials."""

from pathlib import Path
from typing import Any

import pytest
from checkout import MOCK, Checkout
from conftest import TEMPLATE
from harnesses import GOOD_PROMPT
from llm_server import LLMServer
from solver import Solver

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.core.errors import RunLimitReached
from autoharness.core.outcomes import Outcome, Status, Trial, Usage
from autoharness.core.settings import Experiment
from autoharness.engine.benchmark_runner import TauBenchRunner
from autoharness.engine.run_budget import RunBudget
from autoharness.vault.ledger import Ledger
from autoharness.vault.store import Store

USAGE = Usage(calls=3, prompt_tokens=90, completion_tokens=10, cost_usd=0.25)
OUTCOME = Outcome(Trial("0", 0, 1), Status.PROVIDER_ERROR, None, usage={"agent": USAGE, "user": USAGE})


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, ""),
        ({"max_run_llm_calls": 13, "max_run_tokens": 401, "max_run_cost_usd": 1.01}, ""),
        ({"max_run_llm_calls": 12}, "max_run_llm_calls: 12 of 12 LLM calls spent"),
        ({"max_run_tokens": 300}, "max_run_tokens: 400 of 300 tokens spent"),
        ({"max_run_cost_usd": 0.9}, "max_run_cost_usd: 1.0000 of 0.9 USD spent"),
    ],
    ids=["none", "not-yet", "calls", "tokens", "dollars"],
)
def test_counts_every_role_of_every_simulation_the_failed_ones_too(settings: dict[str, Any], line: str) -> None:
    budget = RunBudget(Experiment(**settings))
    budget.add(OUTCOME)
    budget.add(OUTCOME)
    assert budget.reached == line


def _with(checkout: Checkout, setting: str) -> Checkout:
    (checkout.root / "experiment_config.yaml").write_text(f"{MOCK}{setting}\n")
    return checkout


def _trials(checkout: Checkout) -> set[str]:
    return {path.name for path in (checkout.kept / "trials").iterdir()}


def _assert_stopped(done: Any, setting: str) -> None:
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("stopped: ")]
    assert line.startswith(f"stopped: {setting.split(':')[0]}: ") and line == done.stderr.splitlines()[-1]
    assert "what was finished is kept" in line and "the same command again for the rest" in line


@pytest.mark.slow
def test_the_gate_stops_undecided_and_ends_as_it_would_have_without_a_limit(
    prepared: Checkout, tmp_path: Path
) -> None:
    prepared.agent.write_text(GOOD_PROMPT)
    whole = prepared.copy(tmp_path / "whole")
    expected = whole.run("gating.py")
    stops = 0
    while (done := _with(prepared, "max_run_llm_calls: 150").run("gating.py")).returncode == 2:
        before = _trials(prepared)
        _assert_stopped(done, "max_run_llm_calls: 150")
        assert "verdict" not in done.stdout
        assert [type(row).__name__ for row in Ledger(Store(prepared.vault)).rows] == ["Baseline"]
        stops += 1
        assert stops < 50
    assert stops and before < _trials(prepared) == _trials(whole)
    said = [[line for line in one.stdout.splitlines() if "were run for it" not in line] for one in (done, expected)]
    assert said[0] == said[1]


@pytest.mark.slow
def test_prepare_and_the_confirmation_stop_too(prepared: Checkout, tmp_path: Path) -> None:
    fresh = Checkout.make(tmp_path / "fresh", f"{MOCK}max_run_llm_calls: 10\n")
    _assert_stopped(fresh.run("prepare.py"), "max_run_llm_calls")
    assert _trials(fresh) < _trials(prepared) and Ledger(Store(fresh.vault)).rows == []
    prepared.agent.write_text(GOOD_PROMPT)
    assert prepared.run("gating.py").returncode == prepared.run("record.py").returncode == 0
    done = _with(prepared, "confirm_trials: 2\nmax_run_llm_calls: 10").run("report.py", "--confirm")
    _assert_stopped(done, "max_run_llm_calls")
    assert "confirm" not in done.stdout


@pytest.fixture
def runner(tau2: Tau2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a TauBenchRunner of the mock domain on a server that solves its tasks; model gpt-4.1 has a price."""
    (tmp_path / "agent.py").write_text(TEMPLATE)
    with LLMServer(Solver(tau2._tasks("mock").values()).reply) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")

        def make(**settings: Any) -> TauBenchRunner:
            return TauBenchRunner("mock", "gpt-4.1", "train", agent_file=tmp_path / "agent.py", **settings)

        yield make


@pytest.mark.slow
def test_what_was_in_flight_is_finished_and_kept(runner: Any) -> None:
    limit = {"max_run_cost_usd": 1e-6}
    with runner(max_concurrency=2, **limit).open() as bench:
        with pytest.raises(RunLimitReached, match=r"simulations are left"):
            bench.run(None, "test")
        train = bench.measure.splits["train"]
        kept = bench.stored(bench.agent, train)
        assert 1 <= len(kept) <= 3 < len(train)
        with pytest.raises(RunLimitReached):
            bench.run(None, "test")
        assert bench.stored(bench.agent, train) == kept, "a command has one budget, however many runs it has"
        assert bench.run(list(kept), "test").new == 0, "what is in the store costs nothing"
    with runner(**limit).open() as bench:
        last = next(task_id for task_id in train if task_id not in kept)
        assert bench.run([*kept, last], "test").new == 1, "a limit reached with the last one that was needed"
