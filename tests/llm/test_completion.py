"""Whatever a server answers becomes a completion of one shape, or a failure of the provider."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llm_server import Fault, LLMServer

from autoharness.llm.completion import Heard, NoCompletion, only_reasoned, regular, says_something, without_reasoning
from autoharness.llm.providers import LiteLLM, ProviderFault

Json = dict[str, Any]

REQUEST: Json = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 0.0}
ODD = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([0, -1, 10**30, float("nan"), float("inf"), 502, "429", "error", "length", "null", '"{}"']),
        st.text(st.characters(), max_size=8),  # with lone surrogates
        st.just("x" * 10_000),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["type", "text", "code", "message", "name", "id", "_x"]), inner, max_size=3),
    ),
    max_leaves=6,
)


MISSING = object()


def fields(**known: Any) -> Any:
    """An object with these fields. A few of them are missing or of another type, and there may be others."""
    shape = st.fixed_dictionaries({name: seldom_odd(one) for name, one in known.items()})
    more = st.just({}) | st.dictionaries(st.text(max_size=5), ODD, max_size=1)
    return st.builds(lambda some, more: more | {k: v for k, v in some.items() if v is not MISSING}, shape, more)


def seldom_odd(usual: Any) -> Any:
    return st.integers(0, 24).flatmap(lambda drawn: ODD if drawn == 0 else st.just(MISSING) if drawn == 1 else usual)


FUNCTION = fields(name=st.just("look"), arguments=st.sampled_from(["{}", "", '{"a": 1}', '"{}"', "{", {"a": 1}]))
CALL = fields(
    id=st.sampled_from(["call_1", ""]), type=st.just("function"), function=FUNCTION, extra_content=st.none()
)
PART = fields(type=st.sampled_from(["text", "thinking", "output_text", "refusal"]), text=st.text(max_size=5))
MESSAGE = fields(
    role=st.just("assistant"),
    content=st.one_of(st.text(max_size=5), st.lists(PART, max_size=3), st.just("<think>a</think>b")),
    tool_calls=st.lists(CALL, max_size=2),
    function_call=FUNCTION,
    refusal=st.text(max_size=3),
    reasoning_content=st.text(max_size=3),
    thinking_blocks=st.none() | ODD,
    provider_specific_fields=st.none() | ODD,
    audio=st.none() | ODD,
    annotations=st.none() | ODD,
    images=st.none() | ODD,
)
CHOICE = fields(
    index=st.just(0),
    message=MESSAGE,
    finish_reason=st.sampled_from(["stop", "length", "eos"]),
    logprobs=ODD,
    error=st.none(),
)
DETAILS = fields(cached_tokens=st.integers(0, 9), reasoning_tokens=st.integers(0, 9))
USAGE = fields(
    prompt_tokens=st.integers(0, 99),
    completion_tokens=st.integers(0, 99),
    total_tokens=st.integers(0, 99),
    prompt_tokens_details=DETAILS,
    completion_tokens_details=DETAILS,
    cost=st.floats(0, 1),
)
BODY = fields(
    id=st.just("c-1"),
    object=st.just("chat.completion"),
    created=st.just(1),
    model=st.just("m"),
    choices=st.lists(CHOICE, min_size=1, max_size=2),
    usage=USAGE,
    error=st.sampled_from([None, {}]),
    service_tier=ODD,
)


def completion(message: Json, finish_reason: Any = "stop", **more: Any) -> Json:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}
    return {"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **more}


def check_regular(answer: Json) -> None:
    (choice,) = answer["choices"]
    message = choice["message"]
    assert isinstance(choice["finish_reason"], str)
    assert message["role"] == "assistant"
    assert isinstance(message.get("content"), str | None)
    assert message.get("tool_calls") != []
    for call in message.get("tool_calls") or []:
        assert call["type"] == "function"
        assert call["id"] and isinstance(call["id"], str)
        assert all(isinstance(call["function"][name], str) for name in ("name", "arguments"))
    json.dumps(answer, allow_nan=False, ensure_ascii=False).encode()


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(BODY | ODD)
def test_any_body_becomes_a_completion_or_a_failure(body: Any) -> None:
    try:
        answer = regular(body)
    except NoCompletion as fault:
        assert 400 <= fault.status_code < 600
        return
    check_regular(answer)
    assert regular(answer) == answer
    heard = Heard(lambda request: answer, "user", is_agent=False)({**REQUEST, "tools": [{}]})
    check_regular(heard)
    says_something(heard["choices"][0]["message"])
    only_reasoned("user", REQUEST, heard)


@pytest.fixture(scope="module")
def server() -> Iterator[LLMServer]:
    with LLMServer(lambda request: Fault(), remember=False) as server:
        yield server


@pytest.fixture
def models(server: LLMServer, monkeypatch: pytest.MonkeyPatch) -> tuple[LiteLLM, LiteLLM]:
    """With the fast path, and litellm alone."""
    monkeypatch.setenv("OPENAI_API_BASE", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "the-key")
    fast, whole = LiteLLM("openai/m", 20), LiteLLM("openai/m", 20)
    whole._complete = whole._completion  # type: ignore[assignment]
    send(server, json.dumps(completion({"content": "Yes."}, usage={"prompt_tokens": 5, "completion_tokens": 1})))
    assert fast(REQUEST) == whole(REQUEST)  # the fast path has learned the way
    return fast, whole


def send(server: LLMServer, text: str) -> None:
    server.reply = lambda request: Fault(body=text)


def result(model: LiteLLM) -> Any:
    try:
        return model(REQUEST)
    except ProviderFault as fault:
        assert "Traceback" not in str(fault)
        return [str(fault), fault.status_code, fault.retryable]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=BODY | ODD)
def test_any_body_through_http(server: LLMServer, models: tuple[LiteLLM, LiteLLM], body: Any) -> None:
    fast, whole = models
    send(server, json.dumps(body))
    answer = result(fast)
    assert answer == result(whole)
    if isinstance(answer, dict):
        check_regular(answer)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Hello", "Hello"),
        (None, None),
        ([{"type": "text", "text": "Hel"}, {"type": "output_text", "text": "lo"}], "Hello"),
        (
            [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"text": "Yes"}],
            "Yes",
        ),
        ([{"type": "reasoning", "text": "Hm."}, "Yes"], "Yes"),
        ([{"text": "Hm.", "thought": True}, {"text": "Yes"}], "Yes"),
        ([{"type": "redacted_thinking", "data": "x"}], None),
        ([{"type": "refusal", "refusal": "No."}], "No."),
        ([{"type": "text", "text": {"value": "Yes", "annotations": []}}], "Yes"),
        ({"type": "text", "text": "Yes"}, "Yes"),
        ([], None),
    ],
)
def test_content_becomes_a_text(content: Any, text: str | None) -> None:
    assert regular(completion({"content": content}))["choices"][0]["message"]["content"] == text


def test_a_refusal_in_its_own_field_is_what_was_said() -> None:
    answer = regular(completion({"content": None, "refusal": "I cannot."}))
    assert answer["choices"][0]["message"]["content"] == "I cannot."


@pytest.mark.parametrize(
    "function",
    [
        {"name": "look", "arguments": {"at": 1}},
        {"name": "look", "arguments": '{"at": 1}'},
        {"name": "look", "arguments": '"{\\"at\\": 1}"'},
    ],
    ids=["object", "text", "twice"],
)
@pytest.mark.parametrize("nested", [True, False])
def test_arguments_become_a_text(function: Json, nested: bool) -> None:
    call = {"function": function} if nested else function
    for calls in ([call], call):
        (found,) = regular(completion({"tool_calls": calls}))["choices"][0]["message"]["tool_calls"]
        assert json.loads(found["function"].pop("arguments")) == {"at": 1}
        assert found == {"id": "call_0", "type": "function", "function": {"name": "look"}}


@pytest.mark.parametrize("given", [{}, {"arguments": None}, {"arguments": ""}, {"arguments": "null"}], ids=str)
def test_no_arguments(given: Json) -> None:
    answer = regular(completion({"function_call": {"name": "look", **given}}))
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == "{}"
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_what_a_provider_wants_back_is_kept() -> None:
    kept = {"reasoning_content": "Hm.", "thinking_blocks": [{"type": "thinking"}], "signature": "x"}
    call = {"id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    call["extra_content"] = {"google": {"thought_signature": "y"}}
    body = completion({"content": "Yes", "tool_calls": [call], **kept}, usage={"prompt_tokens": 1, "cost": 0.5})
    message = regular(body)["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "Yes", "tool_calls": [call], **kept}
    assert regular(body)["usage"]["cost"] == 0.5


@pytest.mark.parametrize(
    ("body", "status_code"),
    [
        ({"error": {"code": 429, "message": "slow down"}}, 429),
        ({"error": {"code": "503", "message": "x"}}, 503),
        ({"error": "overloaded"}, 502),
        ({"error": {"type": "overloaded_error"}}, 503),
        ({"type": "error", "error": {"type": "authentication_error", "message": "x"}}, 401),
        ({"error": {"code": 200, "message": "x"}}, 502),
        (completion({"content": "Yes"}, error={"code": 400, "message": "too long"}), 400),
        ({"object": "error", "message": "too long", "code": 400}, 400),
        ({"choices": [{"error": {"code": 408}, "message": {"content": ""}}]}, 408),
        (completion({"content": "Half an ans"}, "error"), 502),
        (completion({"content": 5}), 502),
        ({"detail": "Not Found"}, 502),
        ("<html>", 502),
    ],
)
def test_a_failure_with_http_200(
    server: LLMServer, models: tuple[LiteLLM, LiteLLM], body: Any, status_code: int
) -> None:
    send(server, json.dumps(body))
    found = [result(model) for model in models]
    assert found[0] == found[1]
    words, code, retryable = found[0]
    assert (code, retryable) == (status_code, status_code not in (400, 401)), words


@pytest.mark.parametrize("reason", ["abort", "network_error", "insufficient_system_resource", "TIMEOUT", "cancelled"])
@pytest.mark.parametrize("content", ["", "I would"])
def test_a_failure_told_by_the_reason_to_finish(reason: str, content: str) -> None:
    for reasons in ({"finish_reason": reason}, {"finish_reason": "stop", "native_finish_reason": reason}):
        with pytest.raises(NoCompletion) as failure:
            regular({"choices": [{"message": {"role": "assistant", "content": content}, **reasons}]})
        assert failure.value.status_code == 502


def test_an_error_that_is_none() -> None:
    for none in (None, {}, "", {"code": None, "message": ""}, {"code": 0}):
        assert regular(completion({"content": "Yes"}, error=none))["choices"][0]["message"]["content"] == "Yes"


@pytest.mark.parametrize(
    "text",
    [
        "<think>Hm. ###STOP###</think>Yes",
        "Hm. ###STOP###</think>\n\nYes",
        "<thinking>Hm.</thinking> Yes <thought>###STOP###</thought>",
        "Yes <think>Hm. ###STOP###",
        "<think>I write </think> when I am done ###STOP###</think>Yes",
        "[THINK]Hm. ###STOP###[/THINK]Yes",
        "<|channel|>analysis<|message|>###STOP###<|end|><|start|>assistant<|channel|>final<|message|>Yes<|return|>",
        "analysisHm. ###STOP###assistantfinalYes",
        "<|channel>thought\n###STOP###<channel|>Yes",
        "\u25c1think\u25b7###STOP###\u25c1/think\u25b7Yes",
        "<|START_THINKING|>###STOP###<|END_THINKING|>Yes",
        "<|begin_of_thought|>###STOP###<|end_of_thought|>Yes",
        "<seed:think>###STOP###</seed:think>Yes",
        "<Reasoning effort='low'>###STOP###</Reasoning>Yes",
    ],
)
def test_leaked_reasoning_is_not_what_the_customer_says(text: str) -> None:
    assert without_reasoning(text) == "Yes"
    told = heard({"content": text}, is_agent=False)
    assert told["choices"][0]["message"]["content"] == "Yes"
    assert "--reasoning-parser" in told["remarks"][0]
    agents = heard({"content": text}, is_agent=True)
    assert agents["choices"][0]["message"]["content"] == text
    assert "--reasoning-parser" in agents["remarks"][0]


@pytest.mark.parametrize("text", [" 2 < 3, I think [so] <b>", "Thinking of it: <reason> for 'return'.", "", "\n"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert without_reasoning(text) == text
    assert "remarks" not in heard({"content": text or None}, is_agent=False)


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "look"}</tool_call>',
        '[TOOL_CALLS] [{"name": "look"}]',
        "<function=look>{}</function>",
        "<|tool_call|>[...]",
        "```tool_code\nlook()\n```",
        '<invoke name="look">',
        "<|python_tag|>look()",
        "<|channel|>commentary to=functions.look <|message|>{}",
    ],
)
def test_a_tool_call_in_the_text_is_noted(text: str) -> None:
    told = heard({"content": text}, is_agent=True)
    assert told["choices"][0]["message"]["content"] == text
    assert "--tool-call-parser" in told["remarks"][-1]


def heard(message: Json, is_agent: bool, messages: Any = ()) -> Json:
    answer = regular(completion(message))
    request = {"messages": list(messages), "tools": [{}], "seed": 7}
    return Heard(lambda request: answer, "agent" if is_agent else "user", is_agent)(request)


def test_ids_that_were_used_before_are_replaced_by_the_same_ids_each_time() -> None:
    calls = [{"id": one, "function": {"name": "look"}} for one in ("a", "a", "b", "c", None)]
    before = [{"role": "assistant", "tool_calls": [{"id": "b"}]}, {"role": "tool", "tool_call_id": "b"}]
    first, second = ([call["id"] for call in _calls(heard({"tool_calls": calls}, True, before))] for _ in range(2))
    assert first == second
    assert [first[0], first[3]] == ["a", "c"] and len({*first, "b"}) == 6


def _calls(answer: Json) -> list[Json]:
    calls: list[Json] = answer["choices"][0]["message"]["tool_calls"]
    return calls
