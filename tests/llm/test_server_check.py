"""`prepare.py --check --ask`: what it finds at servers of every kind before prepare does."""

import json

import pytest
from llm_server import Fault, LLMServer, Reply, assistant, tool_call
from mood import completion

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.core.settings import Experiment
from autoharness.llm.providers import Providers
from autoharness.llm.server_check import found_by_asking

Json = dict[str, object]

ALTERNATE = "Conversation roles must alternate user/assistant/user/assistant/..."
TOO_LONG = "request (1900 tokens) exceeds the available context size (1024 tokens), try increasing it"
CALL = assistant(tool_calls=[tool_call("get_weather", {"city": "Paris"})])


def _error(status: int, message: str) -> Fault:
    return Fault(status, json.dumps({"error": {"message": message, "code": status}}))


def _well(request: Json) -> Json | Fault:
    """Calls a tool if it has one and no result yet; its words depend on the seed."""
    last = request["messages"][-1]["role"]  # type: ignore[index]
    return CALL if request.get("tools") and last == "user" else assistant(f"word {request.get('seed')}")


def _refusing(fault: Fault, role: str) -> Reply:
    """Refuses conversations with a message of this role where an alternating template would."""
    return lambda one: fault if any(said["role"] == role for said in one["messages"]) else _well(one)


def _without(argument: str, fault: Fault) -> Reply:
    return lambda one: fault if one.get(argument) else _well(one)


def _begins_with_a_user(one: Json) -> Json | Fault:
    said = [message for message in one["messages"] if message["role"] != "system"]  # type: ignore[attr-defined]
    return _well(one) if said[0]["role"] == "user" else _error(400, ALTERNATE)


FOUND: dict[str, tuple[Reply, str, str, str]] = {
    "well": (_well, "ok", "agent: tools", "calls them, and takes their results"),
    "seed": (_well, "ok", "agent: seed", "kept"),
    "key": (lambda one: _error(401, "no"), "FAIL", "agent: server", "no key was sent"),
    "model": (lambda one: _error(404, "no such model"), "FAIL", "agent: server", "a model that it does not serve"),
    "arguments": (
        lambda one: _error(400, "temperature is not taken") if "temperature" in one else _well(one),
        "FAIL",
        "agent: server",
        "change agent_llm_args",
    ),
    "context": (
        lambda one: _error(400, TOO_LONG) if len(json.dumps(one)) > 2000 else _well(one),
        "FAIL",
        "agent: conversation",
        "it takes 1024 tokens for each conversation, and this needs 1900",
    ),
    "greeting": (_begins_with_a_user, "note", "agent: server", "before the greeting"),
    "results": (_refusing(_error(400, ALTERNATE), "tool"), "FAIL", "agent: tools", "--chat-template"),
    "no-calls": (lambda one: assistant("I cannot."), "note", "agent: tools", "called none"),
    "calls-as-text": (
        lambda one: assistant('<tool_call>{"name": "get_weather"}</tool_call>'),
        "note",
        "agent: tools",
        "--tool-call-parser",
    ),
}
for name, refused, fault, mend in (
    (
        "vllm-tools",
        "tools",
        _error(400, '"auto" tool choice requires --enable-auto-tool-choice'),
        "--tool-call-parser",
    ),
    ("llama-tools", "tools", _error(500, "tools param requires --jinja flag"), "with --jinja"),
    ("ollama-tools", "tools", _error(400, "gemma does not support tools"), "that takes tools"),
):
    FOUND[name] = (_without(refused, fault), "FAIL", "agent: tools", mend)
FOUND |= {
    "o-series": (_without("max_tokens", _error(400, "Use another")), "ok", "agent: tools", "calls them"),
    "no-seed": (_without("seed", _error(400, "Unknown parameter: 'seed'.")), "FAIL", "agent: seed", "takes no seed"),
    "temperature-1": (
        lambda one: _error(400, "too hot") if one.get("temperature") == 1 else _well(one),
        "note",
        "agent: seed",
        "cannot be told",
    ),
    "null": (lambda one: completion(one, {"content": None}, "stop"), "FAIL", "agent: server", "without a word"),
    "thinks-long": (
        lambda one: completion(one, {"content": None}, "length"),
        "note",
        "agent: tools",
        "for reasoning",
    ),
    "loading": (lambda one: _error(503, "Loading model"), "FAIL", "agent: server", "wait until"),
    "a-page": (lambda one: Fault(200, "<html>\n<b>nginx</b></html>"), "FAIL", "agent: server", "correct agent_url"),
}


@pytest.mark.parametrize(("reply", "state", "what", "says"), FOUND.values(), ids=FOUND)
def test_what_a_server_does_is_found(tau2: Tau2, reply: Reply, state: str, what: str, says: str) -> None:
    with LLMServer(reply) as server:
        lines = _found(tau2, server.url)
        assert server.asked <= 25
    assert [line for line in lines if line.startswith(f"{state} {what}: ") and says in line], lines


def test_a_server_that_is_not_there(tau2: Tau2) -> None:
    with LLMServer(_well) as server:
        url = server.url
    (first, *others) = _found(tau2, url)
    assert "there is no server at this address: connection refused" in first and "agent_url" in first
    assert not [line for line in others if line.startswith("FAIL")]


def test_programs_are_not_asked(tau2: Tau2) -> None:
    assert not _found(tau2, None, agent_model="offline/clerk")


def _found(tau2: Tau2, url: str | None, **settings: str) -> list[str]:
    experiment = Experiment(**{"domain": "mock", "agent_model": "mine", "agent_url": url} | settings)  # type: ignore[arg-type]
    facts = tau2.facts("mock")
    found = found_by_asking(experiment, Providers(), facts.policy, facts.tools)
    return [f"{one.state} {one.what}: {one.detail}; {one.mend}" for one in found]
