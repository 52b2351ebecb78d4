"""Requests without the agent's words, to find out whether a provider refuses because of those words."""

import itertools
from collections import defaultdict
from contextlib import suppress
from typing import Any

from autoharness.core import strict_json

_SHORTEST_OWN_TEXT = 4

Request = dict[str, Any]


def hello(request: Request) -> Request:
    """A request with the same arguments and tools that says nothing but a greeting."""
    return {**request, "messages": [{"role": "user", "content": "Hello."}]}


def opening(request: Request) -> Request:
    """The request as it begins: up to the first words of the other side."""
    messages = request["messages"]
    end = next((place for place, message in enumerate(messages, 1) if message["role"] == "user"), len(messages))
    return {**request, "messages": messages[:end]}


def with_harmless_words(request: Request) -> Request:
    """The user simulator's request, with something else in place of what the agent said."""
    messages = [
        {**message, "content": "Hello."} if message["role"] == "user" else message for message in request["messages"]
    ]
    return {**request, "messages": messages}


def without_own_words(request: Request) -> Request:
    """The agent's request, with something else for what it said earlier, also if a tool or the user repeats it.

    Tool calls have other ids, since agents may write into those too.
    """
    own = sorted({text for one in request["messages"] for text in _said_in(one)}, key=len, reverse=True)
    messages = []
    for message in request["messages"]:
        if message["role"] == "assistant":
            message = {**message, "content": message.get("content") and "Hello."}
            if calls := message.get("tool_calls"):
                empty = [{**call, "function": {**call["function"], "arguments": "{}"}} for call in calls]
                message["tool_calls"] = empty
        elif message["role"] != "system" and isinstance(message.get("content"), str):
            content = message["content"]
            for text in own:
                content = content.replace(text, "...")
            message = {**message, "content": content}
        messages.append(message)
    return {**request, "messages": _with_other_ids(messages)}


def _with_other_ids(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with a new id for each tool call. Results follow their calls in order, if ids come twice."""
    waiting: dict[str, list[str]] = defaultdict(list)
    numbers = itertools.count(1)

    def renamed(message: dict[str, Any]) -> dict[str, Any]:
        if message["role"] == "tool":
            known = waiting[str(message.get("tool_call_id"))]
            return {**message, "tool_call_id": known.pop(0)} if known else message
        if not (calls := message.get("tool_calls")):
            return message
        named = [{**call, "id": f"call_{next(numbers)}"} for call in calls]
        for call, other in zip(calls, named, strict=True):
            waiting[str(call.get("id"))].append(other["id"])
        return {**message, "tool_calls": named}

    return [renamed(message) for message in messages]


def _said_in(message: dict[str, Any]) -> list[str]:
    """The texts of an assistant message that are long enough to be found again."""
    if message["role"] != "assistant":
        return []
    texts = [message.get("content") or ""]
    for call in message.get("tool_calls") or []:
        with suppress(ValueError):
            texts += _texts_in(strict_json.loads_object(call["function"]["arguments"]))
    return [text for text in texts if len(text) >= _SHORTEST_OWN_TEXT]


def _texts_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in _texts_in(one)]
