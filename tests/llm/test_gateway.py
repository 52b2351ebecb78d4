"""The gateway's session, against a real server through litellm."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llm_server import Fault, LLMServer, assistant, tool_call

from autoharness.core.errors import AgentError, ProviderError, SimulationError
from autoharness.llm.calls import AGENT, USER, Limits
from autoharness.llm.gateway import Session
from autoharness.llm.providers import LiteLLM, ProviderFault

REQUEST = {"messages": [{"role": "user", "content": "Hello"}]}


class Echo:
    """Answers with the number of the request, after `wait_s`."""

    def __init__(self) -> None:
        self.count = 0
        self.wait_s = 0.0
        self.faults: list[Fault] = []
        self._lock = threading.Lock()

    def reply(self, request: dict[str, Any]) -> Any:
        time.sleep(self.wait_s)
        with self._lock:
            if self.faults:
                return self.faults.pop(0)
            self.count += 1
            return assistant(f"answer {self.count}")


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Echo]:
    echo = Echo()
    with LLMServer(echo.reply) as echo.server:  # type: ignore[attr-defined]
        monkeypatch.setenv("OPENAI_API_BASE", echo.server.url)  # type: ignore[attr-defined]
        monkeypatch.setenv("OPENAI_API_KEY", "the-key")
        yield echo


def session(
    model: str = "openai/echo",
    effort: str | None = None,
    retries: int = 0,
    calls: int = 100,
    timeout_s: float = 10,
    **limits: Any,
) -> Session:
    litellm = LiteLLM(model, timeout_s)
    return Session({AGENT: litellm, USER: litellm}, model, effort, Limits(calls, None, retries, **limits))


def text(response: dict[str, Any]) -> str:
    return str(response["choices"][0]["message"]["content"])


def ask(session: Session, **arguments: Any) -> str:
    return text(session.complete_for_agent({**REQUEST, **arguments}, lambda: REQUEST))


def test_the_request_reaches_the_provider_as_the_experiment_says(echo: Echo) -> None:
    ask(session(effort="low"), temperature=0.5, model="openai/echo")
    received = echo.server.requests[0]  # type: ignore[attr-defined]
    assert received.authorization == "Bearer the-key"
    assert received.body["model"] == "echo"
    assert received.body["messages"] == REQUEST["messages"]
    assert received.body["temperature"] == 0.5
    assert received.body["reasoning_effort"] == "low"


def test_a_known_model_has_a_price_and_an_unknown_one_is_said_to_have_none(echo: Echo) -> None:
    priced, unknown = session("gpt-4.1"), session()
    ask(priced)
    ask(unknown)
    assert priced.usage[AGENT].cost_usd > 0 == priced.usage[AGENT].uncosted_calls
    assert unknown.usage[AGENT].cost_usd == 0 < unknown.usage[AGENT].uncosted_calls
    assert priced.usage[AGENT].prompt_tokens > 0 < priced.usage[AGENT].completion_tokens


def test_the_same_question_twice_is_two_calls_and_a_new_attempt_is_none(echo: Echo) -> None:
    """An agent that votes gets several answers; the attempt after a failure gets the same ones again, for nothing."""
    trial = session()
    trial.begin_try()
    first = [ask(trial), ask(trial)]
    assert first == ["answer 1", "answer 2"]
    trial.begin_try()
    assert [ask(trial), ask(trial)] == first
    assert ask(trial) == "answer 3"
    assert echo.count == trial.usage[AGENT].calls == 3


KEY = "sk-proj-Zq4mB7xW2nLk9RtY"


@pytest.mark.parametrize("told", [KEY, f"sk-****{KEY[6:18]}****"], ids=["whole", "its-middle"])
@pytest.mark.parametrize("status", [200, 401, 500])
def test_a_key_that_a_provider_repeats_in_an_error_is_not_passed_on(
    echo: Echo, monkeypatch: pytest.MonkeyPatch, told: str, status: int
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    url = echo.server.url  # type: ignore[attr-defined]
    body = {"error": {"message": f"Incorrect API key: {told} at {url}"}}
    echo.faults = [Fault(status, json.dumps(body))] * 4
    with pytest.raises(SimulationError) as raised:
        ask(session())
    text = str(raised.value)
    assert not any(KEY[start : start + 8] in text for start in range(len(KEY) - 7)) and url not in text
    if status != 200:  # of that one litellm passes on less
        assert "($OPENAI_API_KEY)" in text and "($OPENAI_API_BASE)" in text


def test_a_key_that_a_provider_repeats_in_an_answer_is_not_passed_on(
    echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    call = tool_call("look", {"up": KEY})
    echo.reply = lambda request: assistant(f"You sent Bearer {KEY}.", [call])  # type: ignore[method-assign]
    echo.server.reply = echo.reply  # type: ignore[attr-defined]
    response = session().complete_for_agent(REQUEST, lambda: REQUEST)
    assert text(response) == "You sent Bearer ($OPENAI_API_KEY)."
    assert KEY not in str(response) and echo.server.url not in str(response)  # type: ignore[attr-defined]


def test_the_same_question_of_agent_and_user_is_two_calls(echo: Echo) -> None:
    trial = session()
    assert ask(trial) != text(trial.complete(USER, REQUEST))


@pytest.mark.slow
def test_trials_do_not_wait_for_each_other_and_one_trials_agent_asks_one_thing_at_a_time(echo: Echo) -> None:
    """Otherwise an agent could flood its provider to void a trial that goes wrong."""
    ask(session(), seed=-1)  # opens the client
    echo.wait_s = 0.3
    trials = [session() for _ in range(8)]
    for same, least_s, most_s in ((False, 0.3, 8 * 0.3 / 2), (True, 8 * 0.3, 30.0)):
        started = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n, same=same: ask(trials[0 if same else n], seed=n + 10 * same), range(8)))
        assert least_s <= time.monotonic() - started < most_s


@pytest.mark.slow
def test_a_fault_is_retried_and_then_named(echo: Echo) -> None:
    echo.faults = [Fault(500), Fault(429)]
    assert ask(session(retries=2)) == "answer 1"
    echo.faults = [Fault(503)] * 2
    with pytest.raises(ProviderError) as raised:
        ask(session(retries=1))
    assert raised.value.retryable


def test_a_request_that_no_rate_limit_will_ever_let_pass_is_the_agents_fault(echo: Echo) -> None:
    """Otherwise an edit could void the trials that it would fail, by one huge prompt."""
    body = {"error": {"message": "Request too large for gpt on tokens per min (TPM): Limit 30000, Requested 90000."}}
    echo.faults = [Fault(429, json.dumps(body))]
    with pytest.raises(AgentError, match="too long for the model"):
        ask(session(retries=3))
    assert echo.count == 1, "the untouched agent's request, which is taken"


class OnlyOthersPass:
    """A throttle's model that takes short requests, and says to long ones that there are too many."""

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(request)) < 300:
            return {"choices": [{"message": {"role": "assistant", "content": "Yes."}}]}
        fault = ProviderFault("would exceed the rate limit of 40,000 input tokens per minute", 429)
        fault.waited = fault.alone = True
        raise fault


def test_words_that_alone_meet_the_rate_limit_are_the_agents(echo: Echo) -> None:
    """Its own, or those that it has the user simulator hear: or it could void the trials that it would fail."""
    long = {"messages": [{"role": "user", "content": "x" * 1000}]}
    trial = Session({AGENT: OnlyOthersPass(), USER: OnlyOthersPass()}, "m", None, Limits(100, None, 0))
    with pytest.raises(AgentError):
        trial.complete_for_agent(long, lambda: dict(REQUEST))
    with pytest.raises(AgentError):
        trial.complete(USER, long)


@pytest.mark.slow
def test_a_provider_that_names_a_pause_gets_it(echo: Echo) -> None:
    echo.faults = [Fault(429, headers={"Retry-After": "2"})]
    started = time.monotonic()
    assert ask(session(retries=1)) == "answer 1"
    assert time.monotonic() - started >= 2


@pytest.mark.parametrize("status", [401, 402])
def test_a_wrong_key_is_not_tried_again(echo: Echo, status: int) -> None:
    echo.faults = [Fault(status, '{"error": {"message": "wrong key"}}')] * 2
    with pytest.raises(ProviderError) as raised:
        ask(session(retries=1))
    assert len(echo.faults) == 1 and not raised.value.retryable
    assert "wrong key" in str(raised.value)


@pytest.mark.parametrize(
    "request_",
    [{}, {"messages": []}, {"messages": "Hello"}, {"messages": [{"role": "god", "content": "x"}]}, {"messages": [7]}],
    ids=["nothing", "no-messages", "no-list", "no-role", "no-message"],
)
def test_what_is_no_request_is_the_agents_fault_and_costs_nothing(echo: Echo, request_: Any) -> None:
    with pytest.raises(AgentError):
        session().complete_for_agent(request_, lambda: REQUEST)
    assert echo.count == 0


def test_calls_beyond_the_budget_are_refused(echo: Echo) -> None:
    trial = session(calls=2)
    ask(trial), ask(trial)
    with pytest.raises(AgentError, match="2 LLM calls"):
        ask(trial)
    trial.begin_try()
    assert ask(trial) == "answer 1", "an attempt has its own budget"


def test_tokens_beyond_the_budget_are_refused_and_what_is_in_memory_is_free(echo: Echo) -> None:
    once = session()
    ask(once)
    trial = session(max_tokens=once.usage[AGENT].tokens)
    ask(trial)
    with pytest.raises(AgentError, match=rf"budget of the simulation spent: {once.usage[AGENT].tokens} tokens"):
        ask(trial)
    trial.begin_try()
    assert ask(trial) == "answer 2", "what the attempt before was answered, and paid for"
    with pytest.raises(AgentError, match="budget"):
        ask(trial)
    assert echo.count == 2


def test_a_probe_of_our_own_leaves_the_agents_budget_as_it_was(echo: Echo) -> None:
    """A request is refused, another one that we make is answered, and then it is answered too."""
    once = session()
    ask(once)
    ask(once, temperature=0.5)
    trial = session(max_tokens=once.usage[AGENT].tokens)
    echo.faults = [Fault(400)]
    assert [ask(trial, temperature=0.5), ask(trial)] == ["answer 4", "answer 5"], "the probe got answer 3"
    assert trial.usage[AGENT].calls == 3, "and was paid for"
    with pytest.raises(AgentError, match="budget"):
        ask(trial)


class Unreadable(Exception):
    """No error of a provider is like that. It stands for a bug in our reading of errors."""

    def __str__(self) -> str:
        raise ValueError("no text")


def test_a_bug_in_reading_an_error_ends_the_call_at_once(echo: Echo) -> None:
    model = LiteLLM("openai/echo", timeout_s=30)

    def fail(request: dict[str, Any]) -> Any:
        raise Unreadable

    model._complete = fail  # type: ignore[assignment]
    with pytest.raises(ValueError, match="no text"):  # not the time-out's ProviderFault
        model(REQUEST)


HANGS = {
    "never-answers": Fault(hang_s=30),
    "headers-and-a-byte": Fault(body="{}", drip_s=30),
    "drips": Fault(body=" " * 1000 + "{}", drip_s=0.1),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", HANGS.values(), ids=HANGS)
def test_the_time_out_bounds_the_whole_call(echo: Echo, fault: Fault) -> None:
    """A client's time-out is for each byte: a server that drips would hold the call for as long as it likes."""
    ask(session(), seed=-1)  # opens the client
    echo.faults = [fault]
    started = time.monotonic()
    with pytest.raises(ProviderError) as raised:
        ask(session(timeout_s=0.5))
    assert 0.4 <= time.monotonic() - started < 5
    assert raised.value.retryable


def test_the_time_out_bounds_a_server_that_accepts_and_says_nothing(
    echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OPENAI_API_BASE", f"http://127.0.0.1:{silent.getsockname()[1]}/v1")
        started = time.monotonic()
        with pytest.raises(ProviderError):
            ask(session(timeout_s=0.5))
    assert time.monotonic() - started < 5


OTHER_MODELS = [
    "",
    " openai/echo",
    "openai/echo ",
    "OpenAI/Echo",
    "echo",
    "openai/echo\n",
    ["openai/echo"],
    {"id": "x"},
]


@pytest.mark.parametrize("model", OTHER_MODELS, ids=repr)
def test_another_model_in_whichever_spelling_is_an_error_that_names_it(echo: Echo, model: Any) -> None:
    with pytest.raises(AgentError, match="model") as raised:
        ask(session(), model=model)
    assert repr(model) in str(raised.value) and "\n" not in str(raised.value)
    assert echo.count == 0


@pytest.mark.parametrize("effort", ["high", "LOW", " low", "none", ["low"], {"effort": "low"}, 3], ids=repr)
@pytest.mark.parametrize("fixed", ["low", None])
def test_another_effort_in_whichever_spelling_is_an_error_that_names_it(
    echo: Echo, effort: Any, fixed: str | None
) -> None:
    with pytest.raises(AgentError, match=r"reasoning.effort") as raised:
        ask(session(effort=fixed), reasoning_effort=effort)
    assert repr(effort) in str(raised.value)
    assert echo.count == 0


def test_what_the_agent_asks_for_reaches_the_provider_and_nothing_else_does(echo: Echo) -> None:
    """litellm adds nothing of its own to a request that has every argument an agent may give."""
    given = {
        "frequency_penalty": 0.5,
        "max_tokens": 10**9,
        "parallel_tool_calls": True,
        "presence_penalty": 0.5,
        "response_format": {"type": "json_object"},
        "seed": 1,
        "stop": ["."],
        "temperature": 0.5,
        "tool_choice": "auto",
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
        "top_p": 0.5,
    }
    ask(session(effort="low"), **given, model="openai/echo", reasoning_effort="low")
    received = echo.server.requests[0].body  # type: ignore[attr-defined]
    assert received == REQUEST | given | {"model": "echo", "reasoning_effort": "low"}
