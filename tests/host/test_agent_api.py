"""Messages as the agent sees them, and as an LLM does."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoharness import agent_api
from autoharness.agent_api import (
    AgentInput,
    AssistantMessage,
    MalformedToolCall,
    Message,
    MultiToolMessage,
    RequestRefused,
    SystemMessage,
    Tool,
    ToolCall,
    ToolMessage,
    UserMessage,
    from_chat,
    generate,
    to_chat,
)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
CALLS = st.builds(ToolCall, name=st.text(), arguments=st.dictionaries(st.text(), VALUES, max_size=3), id=st.text())
ANSWERS = st.builds(
    AssistantMessage, content=st.none() | st.text(), tool_calls=st.none() | st.lists(CALLS, min_size=1, max_size=3)
)
SCHEMA = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}}

RESULT = {"role": "tool", "id": "1", "content": "found", "error": True, "requestor": "assistant", "turn_idx": 3}


def _completion(message: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message}], **fields}


def _completion_that_calls(arguments: Any) -> dict[str, Any]:
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": arguments}}
    return _completion({"role": "assistant", "content": None, "tool_calls": [call]})


@given(ANSWERS)
def test_an_answer_that_goes_to_the_llm_and_back_is_the_same(answer: AssistantMessage) -> None:
    (chat,) = to_chat([answer])
    back = from_chat(_completion(chat))
    assert (back.content, back.tool_calls) == (answer.content, answer.tool_calls)


@pytest.mark.parametrize(
    ("message", "chat"),
    [
        (SystemMessage("Be kind."), {"role": "system", "content": "Be kind."}),
        (UserMessage("Hi"), {"role": "user", "content": "Hi"}),
        (AssistantMessage("Hello"), {"role": "assistant", "content": "Hello"}),
        (ToolMessage("1", "found", error=True), {"role": "tool", "content": "found", "tool_call_id": "1"}),
        (
            AssistantMessage(tool_calls=[ToolCall("look", {"at": 1}, "1")]),
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
                ],
            },
        ),
    ],
    ids=["system", "user", "assistant", "tool", "tool-call"],
)
def test_a_message_in_the_form_of_a_chat_completion(message: Message, chat: dict[str, Any]) -> None:
    assert to_chat([message]) == [chat]


def test_an_answer_carries_its_tokens_and_what_the_provider_sent() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    completion = _completion({"role": "assistant", "content": "Hello"}, usage=usage)
    answer = from_chat(completion)
    assert (answer.usage, answer.raw_data) == (usage, completion["choices"][0])


@pytest.mark.parametrize(
    "arguments",
    [
        "{",
        "{'at': 1}",
        "[1]",
        '"text"',
        "1",
        "null",
        '{"x": NaN}',
        '{"x": 1e999}',
        '{"x": "\\ud800"}',
        '{"x":' * 5000,
    ],
    ids=["cut-off", "python", "list", "string", "number", "null", "nan", "too-large", "half-a-character", "deep"],
)
def test_tool_arguments_that_are_no_json_object_are_malformed(arguments: str) -> None:
    with pytest.raises(MalformedToolCall, match=r"^the LLM called look with arguments that are no JSON: ") as error:
        from_chat(_completion_that_calls(arguments))
    assert error.value.content == arguments


@pytest.mark.parametrize("arguments", ["{}", "", None], ids=["empty-object", "empty", "none"])
def test_a_tool_may_be_called_without_arguments(arguments: str | None) -> None:
    assert from_chat(_completion_that_calls(arguments)).tool_calls == [ToolCall("look", {}, "1")]


def test_only_the_agent_host_reaches_an_llm() -> None:
    with pytest.raises(RequestRefused, match=r"benchmark\.py tries an edit"):
        generate(messages=[UserMessage("Hi")], tools=[Tool(SCHEMA)])


@pytest.fixture
def requests() -> Iterator[list[dict[str, Any]]]:
    """What goes out to a gateway that always answers "Hello"."""
    sent: list[dict[str, Any]] = []

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        sent.append(request)
        return _completion({"role": "assistant", "content": "Hello"})

    agent_api._use_gateway(complete)  # as the agent host does
    yield sent
    agent_api._use_gateway(agent_api._no_gateway)


def test_a_request_says_what_the_agent_asked_for_and_nothing_more(requests: list[dict[str, Any]]) -> None:
    assert generate([UserMessage("Hi")]).content == "Hello"
    generate([UserMessage("Hi")], [Tool(SCHEMA)], model="m", temperature=0.5)
    generate([UserMessage("Hi")], [Tool(SCHEMA)], tool_choice="required")
    messages = [{"role": "user", "content": "Hi"}]
    assert requests == [
        {"messages": messages},
        {"messages": messages, "model": "m", "tools": [SCHEMA], "tool_choice": "auto", "temperature": 0.5},
        {"messages": messages, "tools": [SCHEMA], "tool_choice": "required"},
    ]


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        ({"role": "user", "content": "Hi"}, UserMessage("Hi")),
        ({"role": "assistant", "content": "Hello", "tool_calls": []}, AssistantMessage("Hello")),
        (
            {"role": "assistant", "tool_calls": [{"name": "look", "arguments": {}, "id": "1"}]},
            AssistantMessage(tool_calls=[ToolCall("look", {}, "1")]),
        ),
        (RESULT, ToolMessage("1", "found", error=True)),
        ({"role": "tool", "tool_messages": [RESULT]}, MultiToolMessage([ToolMessage("1", "found", error=True)])),
    ],
    ids=["user", "assistant", "tool-call", "tool", "tools"],
)
def test_a_message_that_came_through_the_pipe(wire: dict[str, Any], message: AgentInput) -> None:
    assert agent_api._from_wire(wire) == message


def test_a_tool_describes_itself() -> None:
    tool = Tool(SCHEMA)
    assert (tool.name, tool.description, tool.parameters) == ("look", "Looks.", {"type": "object"})
    bare = Tool({"type": "function", "function": {"name": "look"}})
    assert (bare.name, bare.description, bare.parameters) == ("look", "", {})


@pytest.mark.parametrize(
    ("message", "calls", "says"),
    [
        (AssistantMessage(), False, False),
        (AssistantMessage(" \n", []), False, False),
        (UserMessage("Hi"), False, True),
        (AssistantMessage("", [ToolCall("look", {})]), True, False),
    ],
    ids=["empty", "blank", "text", "call"],
)
def test_a_message_knows_whether_it_calls_tools_or_says_something(
    message: AssistantMessage, calls: bool, says: bool
) -> None:
    assert (message.is_tool_call(), message.has_text_content()) == (calls, says)


@pytest.fixture
def asked() -> Iterator[list[dict[str, Any]]]:
    """What the gateway is asked: it says hello, refuses the word NO, and aborts at the word GONE."""
    requests: list[dict[str, Any]] = []

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        requests.append(request)
        words = request["messages"][-1]["content"]
        if words == "NO":
            raise RequestRefused("over the budget")
        if words == "GONE":
            raise agent_api.SimulationAborted("no LLM")
        return _completion({"role": "assistant", "content": "Hello"})

    agent_api._use_gateway(complete)
    yield requests
    agent_api._use_gateway(agent_api._no_gateway)


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def chat(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Asks through OpenAI's client, each time in an event loop of its own where it has one."""
    if request.param:
        client = openai.AsyncOpenAI(**agent_api.openai_options(asynchronous=True))
        with_a_loop_of_its_own = ThreadPoolExecutor(1)  # a browser's may run in this thread
        return lambda **arguments: with_a_loop_of_its_own.submit(
            lambda: asyncio.run(_created(client, **arguments))
        ).result()
    return openai.OpenAI(**agent_api.openai_options()).chat.completions.create


async def _created(client: openai.AsyncOpenAI, **arguments: Any) -> Any:
    return await client.chat.completions.create(**arguments)


def test_openais_client_asks_the_gateway(asked: list[dict[str, Any]], chat: Callable[..., Any]) -> None:
    """It says developer to the one that the gateway calls system, and may say that it wants no stream."""
    messages = [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    for _ in range(2):
        answer = chat(model="m", messages=messages, temperature=0.5, stream=False)
        assert answer.choices[0].message.content == "Hello"
        assert from_chat(answer.to_dict()).content == "Hello"
    messages[0]["role"] = "system"
    assert asked == [{"model": "m", "messages": messages, "temperature": 0.5}] * 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"messages": [{"role": "user", "content": "NO"}]}, "over the budget"),
        ({"messages": [{"role": "user", "content": "Hi"}], "stream": True}, "does not stream"),
    ],
    ids=["refused", "a stream"],
)
def test_openais_client_is_told_once_why_it_is_refused(
    asked: list[dict[str, Any]], chat: Callable[..., Any], arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=words):
        chat(model="m", **arguments)
    assert len(asked) <= 1


def test_openais_client_lets_the_end_of_a_simulation_pass(
    asked: list[dict[str, Any]], chat: Callable[..., Any]
) -> None:
    with pytest.raises(agent_api.SimulationAborted):
        chat(model="m", messages=[{"role": "user", "content": "GONE"}])
    assert len(asked) == 1


def test_what_is_no_chat_completion_is_refused(asked: list[dict[str, Any]]) -> None:
    with pytest.raises(openai.NotFoundError, match="there is only /v1/chat/completions"):
        openai.OpenAI(**agent_api.openai_options()).responses.create(model="m", input="Hi")
    for body in (b"{", b"[]", b"\xff"):
        assert agent_api._answer_openai("/v1/chat/completions", body, agent_api._complete)[0] == 400
    assert not asked
