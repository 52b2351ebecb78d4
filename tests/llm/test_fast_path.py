"""The fast path beside litellm alone: the same requests, answers and errors. A real server, litellm's own clients."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llm_server import Fault, LLMServer, tool_call

from autoharness.llm.providers import LiteLLM, ProviderFault

Json = dict[str, Any]

TOOLS = [
    {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}}
]
TEXT = st.text(max_size=20)
CALLS = [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"up": "☃"}'}}]
MESSAGES = st.lists(
    st.one_of(
        st.builds(lambda text: {"role": "user", "content": text}, TEXT),
        st.builds(lambda text: {"role": "assistant", "content": text, "tool_calls": None}, TEXT),
        st.builds(lambda text: {"role": "system", "content": text}, TEXT),
        st.just({"role": "assistant", "content": None, "tool_calls": CALLS}),
        st.just({"role": "assistant", "content": "Wait.", "tool_calls": [{**CALLS[0], "name": "look"}]}),
        st.builds(
            lambda text: {"role": "assistant", "content": "x", "reasoning_content": text, "state": [text]}, TEXT
        ),
        st.just({"role": "assistant", "tool_calls": [{**CALLS[0], "extra_content": {"google": {"x": "☃"}}}]}),
        st.builds(lambda text: {"role": "tool", "content": text, "tool_call_id": "call_1"}, TEXT),
        st.builds(lambda text: {"role": "user", "content": text, "name": "anna"}, TEXT),
    ),
    min_size=1,
    max_size=8,
)
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([0.0, 0.7]),
        "tools": st.just(TOOLS),
        "tool_choice": st.sampled_from(["auto", "required"]),
        "seed": st.sampled_from([0, 3, 2**31 - 1, None]),
        "max_tokens": st.just(100),
        "reasoning_effort": st.just("low"),
        "response_format": st.just({"type": "json_object"}),
        "top_k": st.just(5),
        "thinking": st.just({"type": "disabled"}),
        "extra_body": st.sampled_from([{}, {"chat_template_kwargs": {"enable_thinking": False}}]),
    },
)
USAGE = {"prompt_tokens": 1200, "completion_tokens": 34, "total_tokens": 1234}
SAID = {"role": "assistant", "content": "Yes."}


def completion(message: Json, **more: Any) -> Json:
    choice = {"index": 0, "message": message, "finish_reason": more.pop("finish_reason", "stop")}
    return {"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **more}


BODIES: dict[str, Json] = {
    "text": completion(SAID, usage=USAGE),
    "tool-calls": completion(
        {"role": "assistant", "content": None, "tool_calls": [tool_call("look", {"a": 1}, "x")]},
        finish_reason="tool_calls",
        usage=USAGE,
    ),
    "two-choices": {**completion(SAID, usage=USAGE), "choices": completion(SAID)["choices"] * 2},
    "cached-and-reasoning": completion(
        {**SAID, "reasoning_content": "Hm."},
        usage={
            **USAGE,
            "prompt_tokens_details": {"cached_tokens": 1000},
            "completion_tokens_details": {"reasoning_tokens": 20},
        },
    ),
    "refusal": completion({"role": "assistant", "content": None, "refusal": "No."}, usage=USAGE),
    "length": completion(SAID, usage=USAGE, finish_reason="length"),
    "odd-finish": completion(SAID, usage=USAGE, finish_reason="eos_token"),
    "no-usage": completion(SAID),
    "more-fields": completion({**SAID, "mood": "good"}, usage=USAGE, system_fingerprint="f", service_tier="default"),
    "no-choices": {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [], "usage": USAGE},
    "error-in-200": {"error": {"message": "overloaded", "code": 503}},
    "no-message": {"choices": [{"index": 0}], "usage": USAGE},
    "empty": {},
}
FAULTS: dict[str, Fault] = {
    **{str(status): Fault(status, '{"error": {"message": "no"}}') for status in (400, 401, 403, 404, 429, 500, 503)},
    "too-long": Fault(400, '{"error": {"message": "too long", "code": "context_length_exceeded"}}'),
    "retry-after": Fault(429, '{"error": {"message": "slow down"}}', headers={"Retry-After": "7"}),
    "html": Fault(200, "<html>gateway</html>", headers={"Content-Type": "text/html"}),
    "no-json": Fault(200, '{"choices": ['),
    "cut": Fault(truncate=True),
    "null": Fault(200, "null"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[LLMServer]:
    with LLMServer(lambda request: Fault(body=json.dumps(BODIES["text"]))) as server:
        yield server


@pytest.fixture(autouse=True)
def reply(server: LLMServer, monkeypatch: pytest.MonkeyPatch) -> LLMServer:
    monkeypatch.setenv("OPENAI_API_BASE", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "the-key")
    answer(server, Fault(body=json.dumps(BODIES["text"])))
    return server


def answer(server: LLMServer, fault: Fault) -> None:
    server.reply = lambda request: fault


def ask(model: Any, request: Json) -> Any:
    """The answer, or the fault with all that is said of it."""
    try:
        return model(json.loads(json.dumps(request)))
    except ProviderFault as fault:
        return [str(fault), fault.status_code, fault.context_overflow, fault.retry_after_s, fault.retryable]


class Whole:
    """litellm alone."""

    def __init__(self, name: str) -> None:
        self._model = LiteLLM(name, 10)
        self._model._complete = self._model._completion  # type: ignore[assignment]

    def __call__(self, request: Json) -> Any:
        return self._model(request)


class Counting(LiteLLM):
    """Counts what goes through the whole of litellm."""

    def __init__(self, name: str = "openai/m") -> None:
        super().__init__(name, 10)
        self.whole = 0

        def counted(request: Json) -> Json:
            self.whole += 1
            return self._completion(request)

        self._complete._whole = counted


REQUEST: Json = {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]}


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(MESSAGES, ARGUMENTS), min_size=2, max_size=4))
def test_the_provider_gets_what_litellm_would_send(server: LLMServer, requests: list[tuple[Any, Json]]) -> None:
    fast, whole = LiteLLM("openai/m", 10), Whole("openai/m")
    for messages, arguments in [*requests, *requests]:
        request = {"messages": messages, **arguments}
        server.requests.clear()
        assert ask(fast, request) == ask(whole, request)
        one, other = server.requests
        assert (one.body, one.authorization) == (other.body, other.authorization)


@pytest.mark.parametrize("model", ["openai/m", "gpt-4.1", "gpt-5.4", "o3"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_an_answer_is_read_as_litellm_reads_it(server: LLMServer, body: Json, model: str) -> None:
    """Also its price."""
    fast = Counting(model)
    ask(fast, REQUEST)
    answer(server, Fault(body=json.dumps(body)))
    assert ask(fast, REQUEST) == ask(Whole(model), REQUEST)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_an_error_is_read_as_litellm_reads_it_and_the_provider_is_asked_once(server: LLMServer, fault: Fault) -> None:
    fast = Counting()
    ask(fast, REQUEST)
    answer(server, fault)
    server.requests.clear()
    found = ask(fast, REQUEST)
    assert len(server.requests) == (2 if fault.status in (401, 403) else 1)  # with the key as it is now
    assert found == ask(Whole("openai/m"), REQUEST)


def test_a_server_that_is_gone_is_read_as_litellm_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with LLMServer(lambda request: Fault(body=json.dumps(BODIES["text"]))) as gone:
        monkeypatch.setenv("OPENAI_API_BASE", gone.url)
        fast = Counting()
        ask(fast, REQUEST)
    found = ask(fast, REQUEST)
    assert isinstance(found, list) and found == ask(Whole("openai/m"), REQUEST)


def test_further_calls_of_a_kind_do_not_pass_through_the_whole_of_litellm(server: LLMServer) -> None:
    fast = Counting()
    for number in range(50):
        ask(fast, {"messages": [*REQUEST["messages"], {"role": "user", "content": f"And {number}?"}], "seed": number})
    assert fast.whole == 1
    assert [one.body["seed"] for one in server.requests[-50:]] == list(range(50))
    ask(fast, {**REQUEST, "seed": 3, "temperature": 0.5})
    ask(fast, {"messages": [*REQUEST["messages"], {"role": "assistant", "content": "Yes."}], "seed": 3})
    assert fast.whole == 3  # other arguments, and a message of another shape


def test_one_answer_in_a_hundred_is_looked_at_by_litellm_and_asked_for_once(server: LLMServer) -> None:
    fast = Counting()
    server.requests.clear()
    for _ in range(101):
        ask(fast, REQUEST)
    assert (fast.whole, len(server.requests)) == (2, 101)


def test_where_litellm_reads_an_answer_otherwise_its_reading_counts_from_then_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fast = Counting()
    right = ask(fast, REQUEST)
    fast._complete._read = lambda body: {**right, "cost_usd": 7.0}
    found = [ask(fast, REQUEST) for _ in range(102)]
    assert found[98]["cost_usd"] == 7.0 and found[99] == found[100] == found[101] == right
    assert fast.whole == 1 + 1 + 2


def test_a_key_that_is_renewed_is_used(server: LLMServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some expire within the hour, and litellm renews them."""
    fast = Counting()
    ask(fast, REQUEST)
    monkeypatch.setenv("OPENAI_API_KEY", "the-new-key")

    def lets_in_the_new_key(request: Json) -> Fault:
        old = server.requests[-1].authorization == "Bearer the-key"
        return Fault(401, '{"error": {"message": "expired"}}') if old else Fault(body=json.dumps(BODIES["text"]))

    server.reply = lets_in_the_new_key
    answers = [ask(fast, REQUEST) for _ in range(3)]
    assert all(isinstance(one, dict) for one in answers)
    assert [one.authorization for one in server.requests[-3:]] == ["Bearer the-new-key"] * 3


def test_a_key_that_litellm_would_not_use_any_more_is_noticed(
    server: LLMServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the old one is still taken."""
    fast = Counting()
    ask(fast, REQUEST)
    monkeypatch.setenv("OPENAI_API_KEY", "the-new-key")
    for _ in range(102):
        ask(fast, REQUEST)
    assert server.requests[-1].authorization == "Bearer the-new-key"


def test_the_order_of_a_schemas_fields_is_the_agents(server: LLMServer) -> None:
    """A model writes them in that order: to reason before it answers is an edit."""
    fast = Counting()
    for names in (["reasoning", "answer"], ["answer", "reasoning"]):
        properties = {name: {"type": "string"} for name in names}
        schema = {"name": "s", "schema": {"type": "object", "properties": properties}}
        ask(fast, {**REQUEST, "response_format": {"type": "json_schema", "json_schema": schema}})
        sent = server.requests[-1].body["response_format"]["json_schema"]["schema"]["properties"]
        assert list(sent) == names


def test_a_provider_that_litellm_asks_in_another_way_stays_with_litellm(
    server: LLMServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTED_VLLM_API_BASE", server.url)
    fast = Counting("hosted_vllm/m")
    found = [ask(fast, REQUEST) for _ in range(3)]
    assert fast.whole == 3 and found[0]["choices"][0]["message"]["content"] == "Yes."


def test_an_agent_that_asks_otherwise_each_time_fills_no_memory() -> None:
    fast = Counting()
    for seed in range(600):
        fast._complete._keep(str(seed), None)
    assert len(fast._complete._kinds) <= 500
