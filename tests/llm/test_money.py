"""What a call costs: by the configuration's prices, by the provider's own word, and otherwise by litellm."""

import json
from typing import Any

import pytest
from llm_server import Fault, LLMServer
from mood import completion

from autoharness.core.endpoints import Endpoint
from autoharness.core.errors import UserError
from autoharness.core.outcomes import Outcome, Status, Trial, Usage
from autoharness.core.setting_checks import prices
from autoharness.core.settings import Experiment
from autoharness.llm.prices import set_prices
from autoharness.llm.providers import LiteLLM
from autoharness.vault.spending import cost_of

Json = dict[str, Any]
MILLION = 1_000_000
CALLS = 3
"""litellm makes the first call, the fast path those after it."""


def _costs(model: str, **usage: Any) -> list[float | None]:
    """What each of some calls costs, whose usage is this."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": usage}
    with LLMServer(lambda request: Fault(body=json.dumps(body))) as server:
        ask = LiteLLM(model, 10, Endpoint(server.url))
        return [ask({"messages": [{"role": "user", "content": "Hello"}]})["cost_usd"] for _ in range(CALLS)]


def _tokens(cached: int) -> Json:
    counts = {"prompt_tokens": MILLION, "completion_tokens": 0, "total_tokens": MILLION}
    return {**counts, "prompt_tokens_details": {"cached_tokens": cached}}


@pytest.mark.parametrize("cached", [0, 990_000, MILLION])
def test_cached_tokens_cost_as_much_as_any_unless_they_have_a_price(cached: int) -> None:
    set_prices({"plain-priced": {"input": 1.0, "output": 2.0}})
    set_prices({"cache-priced": {"input": 1.0, "output": 2.0, "cached_input": 0.1}})
    assert _costs("plain-priced", **_tokens(cached)) == [pytest.approx(1.0)] * CALLS
    saved = 0.9 * cached / MILLION
    assert _costs("cache-priced", **_tokens(cached)) == [pytest.approx(1.0 - saved)] * CALLS


STATED = {
    "in-dollars": ({"cost": 0.25}, 0.25),
    "free": ({"cost": 0}, 0.0),
    "with-a-key-of-ones-own": (
        {"cost": 0.25, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.5}},
        0.75,
    ),
    "details": ({"cost": 0.25, "cost_details": {"upstream_inference_cost": None}}, 0.25),
    "negative": ({"cost": -1}, 1.0),
    "endless": ({"cost": float("inf")}, 1.0),
    "not-a-number": ({"cost": float("nan")}, 1.0),
    "text": ({"cost": "0.25"}, 1.0),
    "yes": ({"cost": True}, 1.0),
    "null": ({"cost": None}, 1.0),
    "odd-details": ({"cost": 0.25, "is_byok": True, "cost_details": [1]}, 0.25),
}


@pytest.mark.parametrize(("stated", "cost_usd"), STATED.values(), ids=STATED)
def test_what_the_provider_states_is_used_if_it_is_an_amount(stated: Json, cost_usd: float) -> None:
    set_prices({"plain-priced": {"input": 1.0, "output": 2.0}})
    assert _costs("plain-priced", **_tokens(0), **stated) == [pytest.approx(cost_usd)] * CALLS


def test_a_model_without_a_price_that_states_its_cost_has_one() -> None:
    assert _costs("never-heard-of", **_tokens(0), cost=0.25) == [0.25] * CALLS
    assert _costs("never-heard-of", **_tokens(0)) == [None] * CALLS


def test_the_settings_take_a_price_for_cached_tokens_and_no_other() -> None:
    whole = {"m": {"input": 1.0, "output": 2.0, "cached_input": 0.0}}
    assert prices("prices", whole, "") == whole
    for wrong in (
        {"input": 1.0, "cached_input": 0.1},
        {**whole["m"], "cached": 1.0},
        {**whole["m"], "cached_input": -1},
    ):
        with pytest.raises(UserError, match="cached_input"):
            prices("prices", {"m": wrong}, "")


def test_prices_that_come_later_count_every_token_in_full() -> None:
    """A simulation's record does not say how many tokens were cached: it counts at its most."""
    usage = {"agent": Usage(calls=1, prompt_tokens=MILLION, uncosted_calls=1)}
    outcome = Outcome(Trial("t", 0, 1), Status.PASSED, 1.0, usage=usage)
    price = {"openai/mine": {"input": 1.0, "output": 2.0, "cached_input": 0.1}}
    assert cost_of(outcome, Experiment(agent_model="openai/mine", prices=price)) == 1.0


@pytest.mark.parametrize("model", ["my-own", "gpt-5.7"])
def test_the_price_is_that_of_the_name_that_was_asked_for(model: str) -> None:
    """Whatever name the server writes into its answer, and by whatever way it is asked."""
    set_prices({model: {"input": 10.0, "output": 20.0}})
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    with LLMServer(lambda request: completion(request, {"content": "Hi"}, usage=usage, model="gpt-5-nano")) as server:
        ask = LiteLLM(model, 10, Endpoint(server.url))
        tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
        arguments = {"reasoning_effort": "low", "tools": [tool]} if model.startswith("gpt") else {}
        costs = [ask({"messages": [{"role": "user", "content": "x"}], **arguments})["cost_usd"] for _ in range(2)]
    assert costs == [pytest.approx(0.012)] * 2
