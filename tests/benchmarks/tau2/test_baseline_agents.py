"""tau2's own agents as controls: the same session, the same blame, and nothing of theirs in the harness's files."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from checkout import Checkout
from llm_server import Fault, LLMServer, assistant, tool_call
from provider import INFRASTRUCTURE, Provider

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.core.errors import UserError
from autoharness.core.outcomes import Outcome, Status, Trial
from autoharness.core.setting_sources import from_settings, resolve
from autoharness.core.settings import HARNESS, ORACLE, SOLO, STOCK, Experiment
from autoharness.engine.score_identity import Measure
from autoharness.engine.simulator import Simulator

TASK = "create_task_1"
MODEL = "openai/solver"
OVERFLOW = json.dumps({"error": {"message": "This model's maximum context length is 8192 tokens."}})

MakeSimulator = Callable[..., Simulator]
Json = dict[str, Any]


def _run(simulator: Simulator, task_id: str = TASK) -> Outcome:
    return simulator.run(Trial(task_id, 0, 626729), diagnose=False)


@pytest.mark.parametrize("agent", [STOCK, ORACLE])
def test_a_control_talks_to_the_customer_through_the_session(
    provider: Provider, simulator: MakeSimulator, agent: str
) -> None:
    outcome = _run(simulator(agent=agent, agent_model=MODEL))
    assert (outcome.status, outcome.reward, outcome.detail) == (Status.PASSED, 1.0, "")
    assert outcome.usage["agent"].calls + outcome.usage["user"].calls == provider.answered


def test_the_stock_agent_shows_its_llm_what_the_pristine_harness_does(
    provider: Provider, simulator: MakeSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So what differs in a score is the instructions, and what an edit adds to them."""
    heard = {}
    for agent in (HARNESS, STOCK):
        with LLMServer(provider.reply) as server:
            monkeypatch.setenv("OPENAI_API_BASE", server.url)
            _run(simulator(agent=agent, agent_model=MODEL))
        bodies = [one.body for one in server.requests if "<scenario>" not in json.dumps(one.body)]
        heard[agent] = [
            [body["tools"], body["temperature"], [(one["role"], one.get("content")) for one in body["messages"][1:]]]
            for body in bodies
        ]
    assert heard[HARNESS] == heard[STOCK]


@pytest.mark.parametrize(
    "answer",
    [
        assistant(tool_calls=[tool_call("create_task", '{"user_id": ')]),
        assistant(tool_calls=[tool_call("create_task", "[1]")]),
        assistant(""),
        Fault(400, OVERFLOW),
    ],
    ids=["cut", "no-object", "empty", "overflow"],
)
def test_what_the_stock_agent_makes_of_a_bad_answer_is_its_own_failure(
    provider: Provider, simulator: MakeSimulator, answer: Any
) -> None:
    provider.fault = answer
    provider.only_if = "tool_call_id" if isinstance(answer, Fault) else ""  # an opening that is too long is nobody's
    outcome = _run(simulator(agent=STOCK, agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert "\n" not in outcome.detail


def test_the_budget_bounds_a_control(provider: Provider, simulator: MakeSimulator) -> None:
    outcome = _run(simulator(agent=STOCK, agent_model=MODEL, max_llm_calls=1))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert "budget of the simulation spent: 1 LLM calls" in outcome.detail


@pytest.mark.parametrize("name", ["429", "500", "truncated", "every-request-400", "401"])
def test_a_controls_provider_that_fails_is_infrastructure(
    provider: Provider, simulator: MakeSimulator, name: str
) -> None:
    provider.fault = INFRASTRUCTURE[name]
    outcome = _run(simulator(agent=STOCK, agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.PROVIDER_ERROR, None)


@pytest.mark.slow
def test_what_a_control_was_answered_is_not_paid_for_again(provider: Provider, simulator: MakeSimulator) -> None:
    provider.fault, provider.after, provider.times = Fault(500), 1, 2
    outcome = _run(simulator(agent=STOCK, agent_model=MODEL, simulation_retries=1))
    assert outcome.status == Status.PASSED and outcome.notes[0].startswith("the agent's call was tried again")
    assert provider.answered == outcome.usage["agent"].calls + outcome.usage["user"].calls


def test_reference_actions_reach_the_oracles_llm_and_nothing_that_is_kept(
    provider: Provider, simulator: MakeSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LLMServer(provider.reply) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        outcome = _run(simulator(agent=ORACLE, agent_model=MODEL))
    requests = json.dumps([one.body for one in server.requests])
    kept = json.dumps(outcome.to_json())
    assert "resolution_steps" in requests and "[Step 1] Perform" in requests
    assert "resolution_steps" not in kept and "[Step 1]" not in kept


class _Alone:
    """Makes a task's reference actions one after the other, then says that it is done: it needs no customer."""

    def __init__(self, task: Any) -> None:
        self._actions = task.evaluation_criteria.actions
        self.requests: list[Json] = []

    def __call__(self, request: Json) -> Json:
        self.requests.append(request)
        done = sum(message["role"] == "tool" for message in request["messages"])
        if done == len(self._actions):
            return assistant(tool_calls=[tool_call("done", {})])
        return assistant(tool_calls=[tool_call(self._actions[done].name, self._actions[done].arguments)])


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["mock", "telecom"])
def test_the_solo_agent_works_from_a_ticket_with_the_customers_tools(
    tau2: Tau2, simulator: MakeSimulator, monkeypatch: pytest.MonkeyPatch, domain: str
) -> None:
    solo = simulator(domain=domain, agent=SOLO, agent_model=MODEL)
    suitable = Tau2(Experiment(domain=domain, agent=SOLO)).facts(domain).suitable or []
    task = next(one for one in tau2._tasks(domain).values() if one.id in suitable and one.ticket)
    alone = _Alone(task)
    with LLMServer(alone) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "the-key")
        outcome = _run(solo, task.id)
    assert (outcome.status, outcome.reward, outcome.termination) == (Status.PASSED, 1.0, "agent_stop")
    assert set(outcome.usage) == {"agent"}
    assert alone.requests[0]["tool_choice"] == "required" and task.ticket in json.dumps(
        alone.requests[0]
    ).encode().decode("unicode_escape")


def test_a_solo_agent_that_talks_has_failed(simulator: MakeSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    with LLMServer(lambda _: assistant("Hello, is anybody there?")) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "the-key")
        outcome = _run(simulator(agent=SOLO, agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert "only supports tool calls" in outcome.detail


def test_a_control_runs_the_tasks_that_tau2_would_give_it() -> None:
    oracle = Tau2(Experiment(domain="airline", agent=ORACLE)).facts("airline")
    assert oracle.suitable and len(oracle.suitable) < len(oracle.splits["base"])
    measure = Measure(Experiment(domain="airline", agent=ORACLE), asdict(oracle) | {"layers": {}})
    assert set(measure.splits["base"]) == set(oracle.suitable)
    with pytest.raises(UserError, match="llm_agent_solo can run no task of airline"):
        Tau2(Experiment(domain="airline", agent=SOLO)).facts("airline")


def test_a_control_is_a_measure_of_its_own_and_hides_what_the_harness_hides() -> None:
    """Also with a cut of train: or a control would show single results of tasks that are held out."""
    facts = asdict(Tau2(Experiment(domain="airline", agent=ORACLE)).facts("airline")) | {"layers": {}}
    experiments = [Experiment(domain="airline", gate_split="train:0.4", agent=agent) for agent in (HARNESS, ORACLE)]
    harness = Measure(experiments[0], {**facts, "suitable": None})
    oracle = Measure(experiments[1], facts)
    assert harness.id != oracle.id and harness.key(Trial("1", 0, 1)) != oracle.key(Trial("1", 0, 1))
    assert oracle.held_out == harness.held_out & set(facts["suitable"])


def test_the_offline_clerk_does_not_play_alone() -> None:
    with pytest.raises(UserError, match="llm_agent_solo needs a real model: offline/clerk talks to a customer"):
        from_settings({"agent": SOLO, "agent_model": "offline/clerk"})


@pytest.mark.slow
def test_a_control_leaves_the_harness_and_its_workspace_alone(prepared: Checkout) -> None:
    """The agent file is not even read, its traces and results stay, and --failed knows the one from the other."""
    workspace = {name: digest for name, digest in prepared.contents().items() if "workspace" in name}
    prepared.agent.write_text("import os\nos._exit(1)\n")
    done = prepared.run("benchmark.py", "--agent", ORACLE)
    assert done.returncode == 0 and "control: llm_agent_gt" in done.stdout and "PASS" in done.stdout
    assert {name: digest for name, digest in prepared.contents().items() if "workspace" in name} == workspace
    again = prepared.run("benchmark.py", "--agent", STOCK, "--failed")
    assert again.returncode == 3 and "nothing to run again" in again.stderr


@pytest.mark.slow
def test_a_controls_held_out_results_are_hidden(prepared: Checkout) -> None:
    """A whole split prints its mean, a part of it no score; the tasks that it cannot run are no part of it."""
    whole = prepared.run("benchmark.py", "--agent", ORACLE, "--split", "test")
    assert whole.stdout.startswith("val_score: ") and "PASS" not in whole.stdout and "FAIL" not in whole.stdout
    part = prepared.run("benchmark.py", "--agent", ORACLE, "--split", "test", "--num-tasks", "1")
    assert part.returncode == 0 and "val_score" not in part.stdout and "shows no score" in part.stdout
    assert "resolution_steps" not in whole.stdout + whole.stderr + part.stdout + part.stderr


@pytest.mark.slow
@pytest.mark.parametrize("door", ["prepare.py", "gating.py", "optimize.py"])
def test_a_control_is_not_prepared_gated_or_improved(prepared: Checkout, door: str) -> None:
    config = prepared.root / "experiment_config.yaml"
    config.write_text(f"{config.read_text()}agent: {ORACLE}\n")
    done = prepared.run(door)
    assert done.returncode == 3
    line = done.stderr.strip().splitlines()[-1]
    assert "agent: llm_agent_gt is a baseline agent: take it out, and run it with: " in line
    assert line.endswith("benchmark.py --agent llm_agent_gt")


def test_only_a_command_that_says_so_resolves_a_control() -> None:
    assert resolve({"agent": STOCK}, baseline_agents=True).experiment.agent == STOCK
    with pytest.raises(UserError, match="is a baseline agent"):
        resolve({"agent": STOCK})
