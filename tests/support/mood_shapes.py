"""Moods: completions in other shapes than OpenAI's documentation has them."""

import itertools
import json
from collections.abc import Callable
from typing import Any

from llm_server import Fault
from mood import Mood, Solve, completion

Json = dict[str, Any]


def _said(request: Json, message: Json, finish_reason: str = "", **changed: Any) -> Fault:
    """The completion with the message's fields changed."""
    return completion(request, message | changed, finish_reason)


def _in_parts(request: Json, solve: Solve) -> Fault:
    message = solve(request)
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "The customer... ###STOP###"}]}
    words = [{"type": "text", "text": text} for text in _halves(message["content"] or "")]
    return _said(request, message, content=[thinking, *words])


def _halves(text: str) -> list[str]:
    return [text[: len(text) // 2], text[len(text) // 2 :]]


def _leaking(before: str) -> Callable[[Json, Solve], Fault]:
    """Writes its reasoning, with what ends a conversation in it, before what it says."""

    def reply(request: Json, solve: Solve) -> Fault:
        message = solve(request)
        return _said(request, message, content=f"{before}{message['content'] or ''}")

    return reply


def _mute(request: Json, solve: Solve) -> Fault:
    return completion(request, {"content": None, "reasoning_content": "Let me think. " * 20}, "length")


def _called(change: Callable[[Json], None]) -> Callable[[Json, Solve], Fault]:
    """The same calls, each changed."""

    def reply(request: Json, solve: Solve) -> Fault:
        message = solve({**request, "messages": _with_steps(request["messages"])})
        for call in message["tool_calls"]:
            change(call)
        return completion(request, message)

    return reply


def _with_steps(messages: list[Json]) -> list[Json]:
    """The messages with the ids by which the model that solves the task knows its steps."""
    steps = itertools.count()
    return [{**one, "tool_call_id": f"step_{next(steps)}"} if one["role"] == "tool" else one for one in messages]


def _arguments_as_object(call: Json) -> None:
    call["function"]["arguments"] = json.loads(call["function"]["arguments"])


def _calls_two(request: Json, solve: Solve) -> Fault:
    """Beside each call another one, with the same id and no arguments."""
    message = solve(request)
    also = [{**call, "function": {"name": "get_users", "arguments": ""}} for call in message["tool_calls"]]
    return completion(request, message | {"tool_calls": message["tool_calls"] + also})


def _writes_calls(request: Json, solve: Solve) -> Fault:
    message = solve(request)
    calls = [json.dumps(call["function"]) for call in message["tool_calls"]]
    text = (message["content"] or "") + "".join(f"<tool_call>{call}</tool_call>" for call in calls)
    return completion(request, {"content": text})


def _broken(**more: Any) -> Callable[[Json, Solve], Fault]:
    """A failure that comes with HTTP status 200."""
    return lambda request, solve: completion(request, {"content": ""}, "error", **more)


_PARSER = "--reasoning-parser (vLLM, SGLang) or --reasoning-format (llama.cpp)"
_STOPS_IN_MIND = "The customer is happy. ###STOP###"

SHAPES: dict[str, Mood] = {
    "content in parts": Mood(
        seen_at="Mistral's Magistral and other thinking models",
        reply=_in_parts,
        status="passed",
        role="all",
        most_calls=4,
    ),
    "all tokens in reasoning, agent": Mood(
        seen_at="thinking models with a low max_tokens",
        reply=_mute,
        status="provider_error",
        says="tokens of max_tokens for reasoning: raise max_tokens in agent_llm_args",
        settings={"agent_llm_args": {"max_tokens": 100}},
        most_calls=4,
    ),
    "all tokens in reasoning, user": Mood(
        seen_at="thinking models with a low max_tokens",
        reply=_mute,
        status="user_error",
        says="tokens of max_tokens for reasoning: raise max_tokens in user_llm_args",
        role="user",
        settings={"user_llm_args": {"temperature": 0.0, "max_tokens": 100}},
        most_calls=2,
    ),
    "arguments as an object": Mood(
        seen_at="older Ollama, TGI", reply=_called(_arguments_as_object), status="passed", most_calls=4
    ),
    "the same id every turn": Mood(
        seen_at="servers that name a call after its place",
        reply=_called(lambda call: call.update(id="call_0")),
        status="passed",
        most_calls=4,
    ),
    "null ids": Mood(
        seen_at="older llama.cpp", reply=_called(lambda call: call.update(id=None)), status="passed", most_calls=4
    ),
    "one id for two calls": Mood(seen_at="proxies", reply=_calls_two, status="passed", most_calls=4),
    "finish_reason error": Mood(
        seen_at="OpenRouter", reply=_broken(), status="provider_error", says="finish_reason error", most_calls=4
    ),
    "error in a 200": Mood(
        seen_at="OpenRouter",
        reply=_broken(choices=[], error={"code": 502, "message": "Upstream is gone"}),
        status="provider_error",
        says="Upstream is gone",
        most_calls=4,
    ),
    "error for good in a 200": Mood(
        seen_at="OpenRouter",
        reply=_broken(choices=[{"error": {"code": 402, "message": "Pay first"}}]),
        status="provider_error",
        says="Pay first",
        most_calls=2,
    ),
    "leaked reasoning, user": Mood(
        seen_at="vLLM, SGLang, llama.cpp without a parser for the model's reasoning",
        reply=_leaking(f"Well. <think>{_STOPS_IN_MIND}</think>"),
        status="passed",
        says=f"the user's LLM writes its reasoning into its text: start its server with {_PARSER}",
        role="user",
        most_calls=4,
    ),
    "leaked reasoning without its beginning": Mood(
        seen_at="chat templates that end with <think>",
        reply=_leaking(f"{_STOPS_IN_MIND}</think>"),
        status="passed",
        says=_PARSER,
        role="user",
        most_calls=4,
    ),
    "leaked reasoning without an end": Mood(
        seen_at="servers that cut off",
        reply=_leaking(f"<think>{_STOPS_IN_MIND}"),
        status="user_error",
        says="the user's LLM sent its reasoning and no answer",
        role="user",
        most_calls=2,
    ),
    "leaked reasoning, agent": Mood(
        seen_at="gpt-oss without a parser",
        reply=_leaking("<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>"),
        status="passed",
        says=f"the agent's LLM writes its reasoning into its text: start its server with {_PARSER}",
        most_calls=4,
    ),
    "leaked tool calls": Mood(
        seen_at="vLLM, SGLang, llama.cpp without a parser for the model's tool calls",
        reply=_writes_calls,
        status="failed",
        says="--enable-auto-tool-choice and --tool-call-parser (vLLM)",
        settings={"max_steps": 10},
        most_calls=10,
    ),
    "plain": Mood(
        seen_at="a server as the documentation has it",
        reply=lambda request, solve: completion(request, solve(request)),
        status="passed",
        most_calls=8,
    ),
}
"""Completions in other shapes."""
