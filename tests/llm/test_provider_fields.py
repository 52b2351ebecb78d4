"""What a provider wants back it gets back: for words that its model wrote, in any try, and for no others."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm_server import Fault, LLMServer, tool_call
from mood import Mood, completion
from mood_fields import FIELDS
from provider import Provider
from simulations import MODEL, MakeSimulator, edited, preceded, run
from solver import Solver

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.core.outcomes import Status
from autoharness.llm.calls import AGENT, Limits
from autoharness.llm.gateway import Session
from autoharness.llm.provider_fields import ProviderFields
from autoharness.llm.providers import LiteLLM, ProviderFault

Json = dict[str, Any]

CALL = tool_call("look", {"a": 1, "b": 2}, "c1")
OTHER = tool_call("look", {"a": 2}, "c2")
HM = {"reasoning_content": "Hm."}
STRICT = FIELDS["reasoning-content"]
"""A server that refuses a tool call without the reasoning before it."""


def kept(*messages: Json) -> ProviderFields:
    fields = ProviderFields()
    for message in messages:
        fields.note({"choices": [{"message": {"role": "assistant", **message}}]})
    return fields


def sent(fields: ProviderFields, **message: Any) -> Json:
    request = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", **message}]}
    whole: Json = fields.put_back(request)["messages"][1]
    return whole


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "tool_calls": [CALL]},
        {"tool_calls": [{**CALL, "function": {"name": "look", "arguments": '{"b":2,"a":1}'}}]},
        {"content": "", "tool_calls": [{**CALL, "id": "redrawn"}]},
        {"content": " Wait. ", "tool_calls": [CALL, OTHER]},
        {"content": "Wait.", "tool_calls": [OTHER]},
    ],
    ids=["as-it-was", "written-otherwise", "another-id", "both-and-text", "one-of-two"],
)
def test_words_of_the_model_get_their_fields(message: Json) -> None:
    fields = kept({"content": "Wait.", "tool_calls": [CALL, OTHER], **HM})
    assert sent(fields, **message)["reasoning_content"] == "Hm."


@pytest.mark.parametrize(
    "message",
    [
        {"content": "Wait!", "tool_calls": [CALL]},
        {"content": "Wait.", "tool_calls": [tool_call("look", {"a": 3}, "c1")]},
        {"content": "Wait.", "tool_calls": [tool_call("hear", {"a": 1, "b": 2}, "c1")]},
        {"content": "Wait."},
        {"content": json.dumps(["", "look", json.dumps({"a": 1, "b": 2})])},
        {"content": "('', 'look', '{\"a\": 1, \"b\": 2}')"},
    ],
    ids=["text", "arguments", "name", "without-its-call", "a-key-as-text", "a-key-as-text-too"],
)
def test_words_that_the_model_never_wrote_get_none(message: Json) -> None:
    fields = kept({"content": "Wait.", "tool_calls": [CALL], **HM})
    assert sent(fields, **message) == {"role": "assistant", **message}


def test_each_call_has_its_own_signature_and_of_equal_messages_the_latest_counts() -> None:
    first, second = {**CALL, "extra_content": 1}, {**CALL, "id": "c9", "extra_content": 2}
    fields = kept({"tool_calls": [first]}, {"content": "Yes.", "mood": 1}, {"tool_calls": [second]})
    assert sent(fields, tool_calls=[CALL])["tool_calls"][0]["extra_content"] == 1
    assert sent(fields, tool_calls=[{**CALL, "id": "c9"}])["tool_calls"][0]["extra_content"] == 2
    assert sent(fields, tool_calls=[{**CALL, "id": "x"}])["tool_calls"][0]["extra_content"] == 2
    fields.note({"choices": [{"message": {"content": "Yes.", "mood": 2}}]})
    assert sent(fields, content="Yes.")["mood"] == 2


def test_what_answers_alone_have_is_not_sent_back() -> None:
    said = {"content": "Yes.", "refusal": "no", "annotations": [1], "audio": {"id": 1}, "x": None, "y": [], "z": {}}
    said["provider_specific_fields"] = {"refusal": None, "annotations": [], "citations": None}
    assert sent(kept(said), content="Yes.").keys() == {"role", "content", "provider_specific_fields"}


@pytest.mark.parametrize("arguments", ["", "nonsense", None, {"a": 1}, "[" * 100_000, '{"a": NaN}'])
def test_any_arguments_of_a_call_can_be_kept(arguments: Any) -> None:
    odd = {"id": None, "function": {"name": "look", "arguments": arguments}}
    assert sent(kept({"tool_calls": [odd], **HM}), tool_calls=[odd])["reasoning_content"] == "Hm."


def test_the_form_that_a_server_takes_is_the_first_from_then_on() -> None:
    forms: list[bool] = []

    def refuses_fields(request: Json) -> Json:
        forms.append("mood" in request["messages"][0])
        if forms[-1]:
            raise ProviderFault("Extra inputs are not permitted", 422)
        return {}

    fields = kept({"content": "Yes.", "mood": 1})
    for _ in range(2):
        fields.ask(refuses_fields, {"messages": [{"role": "assistant", "content": "Yes."}]})
    assert forms == [True, False, False]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FUNCTION = st.fixed_dictionaries({"name": st.text(max_size=5)}, optional={"arguments": JSON})
CALLS = st.lists(st.fixed_dictionaries({"function": FUNCTION}, optional={"id": JSON, "index": JSON, "x": JSON}))
NAMES = ("content", "reasoning_content", "provider_specific_fields", "thinking_blocks", "refusal", "x")


@given(st.fixed_dictionaries({}, optional={"tool_calls": CALLS | st.none(), **dict.fromkeys(NAMES, JSON)}))
@settings(max_examples=100, deadline=None)
def test_any_completion_can_be_kept_and_put_back(message: Json) -> None:
    back = {name: value for name, value in message.items() if name in ("content", "tool_calls")}
    whole = sent(kept(message), **back)
    assert {**whole, "tool_calls": None} == {**whole, **back, "tool_calls": None}


ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "stop_reason": "tool_use",
    "usage": {"input_tokens": 9, "output_tokens": 9},
    "content": [
        {"type": "thinking", "thinking": "Let me see.", "signature": "EqQBCkYIBx"},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}},
    ],
}
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def test_claude_gets_its_thinking_back_and_the_effort_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own API refuses a tool call without the thinking before it, and the word reasoning_effort."""
    asked: list[Json] = []

    class Anthropic(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(ANTHROPIC).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Anthropic)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("ANTHROPIC_API_BASE", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    model = LiteLLM("anthropic/claude-sonnet-4-5", 10)
    trial = Session({AGENT: model}, "anthropic/claude-sonnet-4-5", "low", Limits(9, None, 0), arguments={"top_k": 5})
    first: Json = {"messages": [{"role": "user", "content": "Look."}], "tools": [LOOK], "tool_choice": "auto"}
    call = trial.complete_for_agent(first, lambda: first)["choices"][0]["message"]["tool_calls"][0]
    plain = {name: call[name] for name in ("id", "type", "function")}
    said = [{"role": "assistant", "content": None, "tool_calls": [plain]}]
    answer = [{"role": "tool", "content": "A door.", "tool_call_id": call["id"]}]
    second = {**first, "messages": [*first["messages"], *said, *answer]}
    trial.complete_for_agent(second, lambda: second)
    server.shutdown()
    assert asked[1]["messages"][1]["content"] == ANTHROPIC["content"]
    assert all(one["thinking"] and one["top_k"] == 5 and "reasoning_effort" not in one for one in asked)


@pytest.mark.slow
def test_a_user_simulator_with_tools_gives_back_its_fields_and_nothing_of_tau2s(
    tau2: Tau2, simulator: MakeSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tau2 drops the fields, and adds a name to each call that no protocol has."""
    tasks, refused = tau2._tasks("telecom"), []
    solver = Solver(tasks.values())

    def reply(request: Json) -> Fault:
        answer = STRICT.reply(request, solver.reply)
        assert isinstance(answer, Fault)
        refused.extend([answer.body] if answer.status != 200 else [])
        return answer

    with LLMServer(reply) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        outcome = run(simulator(domain="telecom", agent_model=MODEL), list(tasks)[3])
    assert (outcome.status, refused) == (Status.PASSED, []), outcome.detail
    assert any(message["role"] == "user" and message.get("tool_calls") for message in outcome.messages)


HONEST = {
    "drops-the-text": "reply, state = turn(self, message, state)\nreply.content = None if reply.tool_calls else "
    "reply.content\nreturn reply, state",
    "draws-other-ids": "reply, state = turn(self, message, state)\nfor number, call in enumerate(reply.tool_calls or "
    "[]):\n    call.id = f'step_{number}'\nreturn reply, state",
}


@pytest.mark.parametrize("code", HONEST.values(), ids=HONEST)
def test_an_honest_harness_loses_nothing(provider: Provider, simulator: MakeSimulator, code: str) -> None:
    provider.mood = STRICT
    assert run(simulator(edited(code), agent_model=MODEL)).status == Status.PASSED


INVENTED = """
from autoharness.agent_api import AssistantMessage, ToolCall
self.turns = getattr(self, "turns", 0) + 1
if self.turns == 1:
    call = ToolCall("get_users", {}, "mine")
    state.messages += [message, AssistantMessage(tool_calls=[call])]
    return state.messages[-1], state
return turn(self, message, state)
"""
ALTERED = """
reply, state = turn(self, message, state)
if reply.tool_calls:
    reply.tool_calls[0].arguments = {"user_id": "nobody", "title": "x"}
return reply, state
"""


@pytest.mark.parametrize("code", [INVENTED, ALTERED], ids=["invented", "altered"])
def test_a_call_that_the_model_never_made_and_its_provider_refuses_is_the_agents_fault(
    provider: Provider, simulator: MakeSimulator, code: str
) -> None:
    """Otherwise an agent that fails could void the task."""
    provider.mood = STRICT
    outcome = run(simulator(edited(code), agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0), outcome.detail


def test_forbidden_words_that_the_model_was_made_to_say_are_the_agents_fault(
    provider: Provider, simulator: MakeSimulator
) -> None:
    """Even if the provider refuses its own message without the fields, and the words are in the fields too."""

    def wants_any(request: Json, solve: Callable[[Json], Json]) -> Fault:
        said = [one for one in request["messages"] if one["role"] == "assistant" and one.get("tool_calls")]
        if any("SWEAR" in json.dumps(one) for one in said):
            return Fault(400, '{"error": {"message": "data_inspection_failed"}}')
        if any("reasoning_content" not in one for one in said):
            return Fault(400, '{"error": {"message": "reasoning_content must be passed back"}}')
        return completion(request, {**solve(request), "reasoning_content": "SWEAR"})

    provider.mood = Mood("a filter", wants_any, "agent_error")
    outcome = run(simulator(agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0), outcome.detail


def test_a_provider_that_refuses_what_nobody_can_give_back_is_infrastructure(
    provider: Provider, simulator: MakeSimulator
) -> None:
    def reply(request: Json, solve: Callable[[Json], Json]) -> Fault:
        if any(one.get("tool_calls") for one in request["messages"]):
            return Fault(400, '{"error": {"message": "the header X-State is missing"}}')
        return completion(request, {**solve(request), **HM})

    provider.mood = Mood("nobody", reply, "provider_error")
    outcome = run(simulator(agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.PROVIDER_ERROR, None), outcome.detail


def test_another_try_puts_back_what_the_first_one_heard(
    provider: Provider, simulator: MakeSimulator, tmp_path: Path
) -> None:
    """The answers are in the journal, as after a kill."""
    file = tmp_path / "unfinished" / "one.jsonl"
    down = True

    def reply(request: Json, solve: Callable[[Json], Json]) -> Any:
        has_called = any(one.get("tool_calls") for one in request["messages"])
        return Fault(500) if has_called and down else STRICT.reply(request, solve)

    provider.mood = Mood("an outage", reply, "passed")
    first, asked = run(simulator(agent_model=MODEL), unfinished=file), provider.asked
    down = False
    second = run(simulator(agent_model=MODEL), unfinished=file)
    assert (first.reward, second.status) == (None, Status.PASSED), second.detail
    assert second.usage["agent"].calls + second.usage["user"].calls == provider.asked - asked == 2


def test_kept_answers_have_their_fields_too(provider: Provider, simulator: MakeSimulator, tmp_path: Path) -> None:
    """`llm_cache`: the next run hears the first answers again, and asks on with their fields."""
    from autoharness.llm.call_journal import Answers

    pytest.importorskip("diskcache")
    provider.mood = STRICT
    answers = Answers(tmp_path / "answers")
    same = simulator(agent_model=MODEL, llm_cache="all")
    same._answers = answers
    assert run(same).status == Status.PASSED
    other = simulator(
        preceded("if state.messages[2:]: self.llm_args['top_p'] = 0.9"), agent_model=MODEL, llm_cache="all"
    )
    other._answers = answers
    outcome = run(other)
    assert (outcome.status, outcome.usage["agent"].cached_calls > 0) == (Status.PASSED, True), outcome.detail


def test_the_agent_carries_no_fields(provider: Provider, simulator: MakeSimulator) -> None:
    """It may see what the model thought, and cannot choose it: a message with such a field is refused."""
    code = (
        "from autoharness.agent_api import _complete\n"
        "_complete({'messages': [{'role': 'assistant', 'content': 'x', 'reasoning_content': 'forged'}]})"
    )
    provider.mood = STRICT
    outcome = run(simulator(edited(code), agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)


@pytest.mark.parametrize("model", ["gpt-5.4", "gpt-5.1-codex"])
def test_a_model_that_litellm_calls_over_responses_works_on_a_server_without_that_path(
    provider: Provider, simulator: MakeSimulator, model: str
) -> None:
    with LLMServer(provider.reply) as server:
        settings: Json = {"agent_url": server.url, "user_url": server.url, "user_model": "solver"}
        outcome = run(simulator(agent_model=model, reasoning_effort="low", **settings))
        asked = [one.body for one in server.requests if one.body["model"] == model]
    assert outcome.status == Status.PASSED, outcome.detail
    assert {one["reasoning_effort"] for one in asked} == {"low"}
    assert all(one["tools"] for one in asked)


def test_a_server_without_the_model_says_so(simulator: MakeSimulator) -> None:
    with LLMServer(lambda request: Fault(404, '{"error": {"message": "no such model: gpt-5.4"}}')) as server:
        outcome = run(simulator(agent_model="gpt-5.4", agent_url=server.url, reasoning_effort="low"))
    assert outcome.reward is None and "no such model: gpt-5.4" in outcome.detail
