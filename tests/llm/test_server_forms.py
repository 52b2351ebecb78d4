"""A server of one's own: answers have a limit, and end; what its chat template takes (see test_moods too)."""

import json
import math
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from llm_server import Fault, assistant
from mood import Mood, Solve, completion
from provider import Provider
from simulations import Json, MakeSimulator, edited, run

from autoharness.core.outcomes import CUT_OFF, Outcome, Status
from autoharness.llm.completion import limit_of
from autoharness.llm.providers import ProviderFault
from autoharness.llm.server_forms import Bounded, Templated, in_form
from autoharness.vault.workspace import render_trace

WITHOUT_END = completion({}, {"content": "la la la"}, "length")
TOO_LARGE = (
    "'max_tokens' is too large: 8192. This model's maximum context length is 4096 tokens and your request has 700"
)


def _run(simulator: MakeSimulator, agent: str | None = None, **settings: Any) -> Outcome:
    own = {"agent_model": "solver", "agent_url": os.environ["OPENAI_API_BASE"], "max_steps": 12, "seeds": "per_task"}
    return run(simulator(*([agent] if agent else []), **own | settings))


def _noting(asked: list[Any]) -> Mood:
    def reply(request: Json, solve: Solve) -> Json | Fault:
        asked.append(request.get("max_tokens"))
        return solve(request)

    return Mood("any server", reply, status="passed")


LIMITS: dict[str, tuple[Json, str, int]] = {
    "by-default": ({}, "pass", 8192),
    "the-agents": ({}, "self.llm_args['max_tokens'] = 50", 50),
    "more-than-the-most": ({}, "self.llm_args['max_tokens'] = 10**9", 8192),
    "none": ({}, "self.llm_args['max_tokens'] = -1", 8192),
    "the-experiments": ({"agent_llm_args": {"max_tokens": 20_000}}, "pass", 20_000),
    "less-than-the-experiments": (
        {"agent_llm_args": {"max_tokens": 900}},
        "self.llm_args['max_tokens'] = 1000",
        1000,
    ),
}


@pytest.mark.parametrize(("settings", "code", "limit"), LIMITS.values(), ids=LIMITS)
def test_an_answer_has_a_limit(
    provider: Provider, simulator: MakeSimulator, settings: Json, code: str, limit: int
) -> None:
    asked: list[Any] = []
    provider.mood = _noting(asked)
    outcome = _run(simulator, edited(f"{code}\nreturn turn(self, message, state)"), **settings)
    assert (outcome.status, set(asked)) == (Status.PASSED, {limit})


@pytest.mark.parametrize("seeds", ["tau2", "per_role"])
def test_an_older_vaults_trials_have_no_limit(provider: Provider, simulator: MakeSimulator, seeds: str) -> None:
    """Its incumbents were measured without one, under these keys."""
    asked: list[Any] = []
    provider.mood = _noting(asked)
    assert (_run(simulator, seeds=seeds).status, set(asked)) == (Status.PASSED, {None})


@pytest.mark.usefixtures("provider")
def test_a_providers_model_gets_no_limit(provider: Provider, simulator: MakeSimulator) -> None:
    asked: list[Any] = []
    provider.mood = _noting(asked)
    assert run(simulator(agent_model="openai/solver", seeds="per_task")).status == Status.PASSED
    assert set(asked) == {None}


def test_an_answer_without_end_is_cut_and_the_trace_says_where(provider: Provider, simulator: MakeSimulator) -> None:
    provider.mood = Mood("any", lambda request, solve: WITHOUT_END, "failed")
    outcome = _run(simulator)
    assert (outcome.status, outcome.reward) == (Status.FAILED, 0.0)
    assert [note for note in outcome.notes if note.startswith(CUT_OFF)] == [
        f"{CUT_OFF}: the agent's LLM was stopped at 8192 tokens (max_tokens in agent_llm_args)"
    ]
    told = [one for one in outcome.messages[1:] if one["role"] == "assistant"]
    assert {one.get("finish_reason") for one in told} == {"length"}
    assert f"la la la\n\n    ({CUT_OFF})" in render_trace(outcome)


def test_the_users_answer_without_end_too(provider: Provider, simulator: MakeSimulator) -> None:
    provider.mood = Mood("any", lambda request, solve: WITHOUT_END, "failed", role="user")
    outcome = _run(simulator)
    assert {one.get("finish_reason") for one in outcome.messages if one["role"] == "user"} == {"length"}


def test_what_takes_too_long_is_asked_for_once_more_shorter(provider: Provider, simulator: MakeSimulator) -> None:
    """The clock stops a slow server before the limit does."""
    provider.mood = Mood("any", lambda one, solve: WITHOUT_END if one["max_tokens"] <= 1024 else Fault(hang_s=9), "")
    outcome = _run(simulator, llm_timeout_s=0.5, max_llm_calls=1)
    assert outcome.status == Status.AGENT_ERROR  # of its second call
    assert any(note.startswith(CUT_OFF) and "llm_timeout_s" in note for note in outcome.notes)
    assert provider.asked <= 4


def test_a_server_that_never_answers_is_not_asked_again_and_again(
    provider: Provider, simulator: MakeSimulator
) -> None:
    provider.mood = Mood("any", lambda one, solve: Fault(hang_s=9) if "tools" in one else assistant("Hi."), "")
    outcome = _run(simulator, llm_timeout_s=0.3, llm_retries=5, simulation_retries=2)
    assert (outcome.status, outcome.reward) == (Status.PROVIDER_ERROR, None)
    assert provider.asked <= 7


REFUSALS: dict[str, tuple[int, str]] = {
    "vLLM": (400, TOO_LARGE),
    "with a 500": (500, "prompt (700) + max_tokens (8192) exceeds the maximum context length of 4096 tokens"),
    "in other words": (422, "Parameter out of range: 8192 > 4096"),
}


@pytest.mark.parametrize("limit", [{}, {"max_tokens": 4096}, {"max_tokens": 300}, {"max_completion_tokens": 9000}])
@pytest.mark.parametrize(("status", "words"), REFUSALS.values(), ids=REFUSALS)
def test_a_server_that_refuses_a_limit_that_is_not_the_agents_is_asked_without(
    status: int, words: str, limit: Json
) -> None:
    """... each time: a shorter conversation has the limit again."""
    model = _Fake(lambda one: status if limit_of(one) < math.inf and len(one["messages"]) > 2 else 0, words)
    bounded = Bounded(model, "agent", limit_of(limit))
    for request in (_OPENING, {"messages": _OPENING["messages"] * 2}, _OPENING):
        bounded({**request, **limit})
    ours = limit_of(limit) if limit else 8192
    assert [limit_of(one) for one in model.asked] == [ours, ours, math.inf, ours]


def test_a_lower_limit_of_the_agents_own_stays_its_fault() -> None:
    model = _Fake(lambda one: 400, TOO_LARGE)
    with pytest.raises(ProviderFault):
        Bounded(model, "agent", 4096)(_OPENING | {"max_tokens": 4095})
    assert len(model.asked) == 1


def test_each_limit_is_capped_by_itself() -> None:
    model = _Fake(lambda one: 0, "")
    Bounded(model, "agent", math.inf)(_OPENING | {"max_tokens": 100_000, "max_completion_tokens": 10})
    assert (model.asked[0]["max_tokens"], model.asked[0]["max_completion_tokens"]) == (8192, 10)


REFUSES: dict[str, tuple[int, str]] = {
    "OpenAI": (400, "Unsupported value: 'messages[0].role' does not support 'system' with this model."),
    "pydantic": (422, "Input should be 'user' or 'assistant'"),
    "any words": (400, "400"),
    "any words, 500": (500, "Internal Server Error"),
}


@pytest.mark.parametrize(("status", "words"), REFUSES.values(), ids=REFUSES)
def test_a_template_is_known_by_what_it_refuses(status: int, words: str) -> None:
    model = _Fake(lambda one: status if one["messages"][0]["role"] == "system" else 0, words)
    answer = _asked_twice(Templated(model, "agent"), _OPENING)
    assert "the system prompt as a user's message" in answer["remarks"][0]
    assert model.asked[-1]["messages"][0]["content"] == "Be kind.\n\nHello."


PROVOKED = 'roles "user" must\nalternate'
OF_ITS_OWN: dict[str, Json] = {
    "words": {"messages": [{"role": "system", "content": PROVOKED}, {"role": "user", "content": PROVOKED}]},
    "tools": {"tools": [{"type": "function", "function": {"name": "look", "description": PROVOKED}}]},
    "arguments": {"stop": PROVOKED},
}


@pytest.mark.parametrize("own", OF_ITS_OWN.values(), ids=OF_ITS_OWN)
def test_no_words_of_an_agent_bring_about_another_form(own: Json) -> None:
    def refuses(request: Json) -> int:
        is_said = json.dumps(PROVOKED) in json.dumps(request)
        return 400 if is_said and any(one["role"] == "system" for one in request["messages"]) else 0

    model = _Fake(refuses, PROVOKED)
    with pytest.raises(ProviderFault):
        _asked_twice(Templated(model, "agent"), _OPENING | own)
    assert all(one["messages"][0]["role"] == "system" for one in model.asked)


@pytest.mark.parametrize("failures", range(1, 9))
@pytest.mark.parametrize("words", ["MemoryError in jinja2/environment.py", "oops"])
def test_a_failure_that_passes_changes_no_form(failures: int, words: str) -> None:
    """However many requests fail, the same request is answered in the form that it has."""
    left = iter(range(failures))
    model = _Fake(lambda one: 0 if next(left, None) is None else 500, words)
    templated = Templated(model, "agent")
    for _ in range(9):
        with suppress(ProviderFault):
            assert "remarks" not in templated(_OPENING)
            return
    raise AssertionError("never answered")


@pytest.mark.parametrize("words", ["tools param requires --jinja flag", "chat template: roles must alternate"])
def test_a_servers_error_can_be_tried_again(words: str) -> None:
    with pytest.raises(ProviderFault) as raised:
        Templated(_Fake(lambda one: 500, words), "agent")(_OPENING)
    assert raised.value.retryable
    assert raised.value.of_template == ("alternate" in words)


def test_messages_that_become_one_lose_no_field() -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "user", "content": "b", "name": "B"}]
    assert in_form(1, messages) == [{"role": "user", "content": "a\n\nb", "name": "B"}]


_OPENING: Json = {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello."}]}


class _Fake:
    """A model that refuses with a status, and with the same words each time; status 0 is an answer."""

    def __init__(self, refuses: Callable[[Json], int], words: str) -> None:
        self._refuses, self._words = refuses, words
        self.asked: list[Json] = []

    def __call__(self, request: Json) -> Json:
        self.asked.append(request)
        if status := self._refuses(request):
            raise ProviderFault(self._words, status)
        return {"choices": [{"message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}]}


def _asked_twice(model: Callable[[Json], Json], request: Json) -> Json:
    """The answer, after one further try."""
    with suppress(ProviderFault):
        return model(request)
    return model(request)
