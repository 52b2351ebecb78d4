"""Makes tau2's replay of a conversation pass over harmless differences (`replay_tolerance`).

To score a conversation tau2 makes its tool calls once more, and raises if a tool's answer differs: then the task has
no result. Some differences come from another version of a library, in the words of an error. Others would mean that
the replayed databases are not those that the agent left.

A difference is harmless if the call leaves the replayed databases as they are: it is a call of a tool that tau2 marks
as reading, or it failed both times. The score is then the one of the same conversation without that call, which the
agent could have had by not making it: tolerance raises no score, unless the task asks for the call itself, as no task
of tau2's does with a reading tool. A call that changed something in the conversation
and fails in the replay is not harmless: tolerating it would take back what the agent did. Nor is the reverse, or
another answer of a call that changes something both times: then tau2 raises as usual.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

from autoharness.core.outcomes import REPLAYED_OTHERWISE

_READS = frozenset({"read", "think"})
_SHOWN_CHARS = 120

_tolerated: ContextVar[list[str] | None] = ContextVar("tolerated", default=None)


@contextmanager
def tolerating(wanted: bool) -> Iterator[list[str]]:
    """Yields a list that gets a note for each difference that replays in the block pass over."""
    notes: list[str] = []
    token = _tolerated.set(notes if wanted else None)
    try:
        yield notes
    finally:
        _tolerated.reset(token)


def install(environment_class: Any) -> None:
    """Once for each process."""
    set_state_in, respond_in = environment_class.set_state, environment_class.get_response

    @wraps(set_state_in)
    def set_state(self: Any, *arguments: Any, **named: Any) -> Any:
        self._recorded = iter(_answers(named["message_history"] if "message_history" in named else arguments[2]))
        try:
            return set_state_in(self, *arguments, **named)
        finally:
            del self._recorded

    @wraps(respond_in)
    def get_response(self: Any, call: Any) -> Any:
        response = respond_in(self, call)
        notes, recorded = _tolerated.get(), getattr(self, "_recorded", None)
        if notes is None or recorded is None:
            return response
        then = next((answer for made, answer in recorded if made == call), None)  # tau2 leaves out some calls
        if then is None or _read(then.content) == _read(response.content):
            return response
        if not _is_harmless(self, call, then, response):
            return response
        notes.append(f"{REPLAYED_OTHERWISE}: {call.name}: {_difference(then.content or '', response.content or '')}")
        return response.model_copy(update={"content": then.content})

    environment_class.set_state, environment_class.get_response = set_state, get_response


def _answers(messages: list[Any]) -> list[tuple[Any, Any]]:
    """Each tool call with its answer: the answers follow their calls, in the same order."""
    calls = [call for message in messages for call in getattr(message, "tool_calls", None) or []]
    return list(zip(calls, (message for message in messages if message.role == "tool"), strict=False))


def _is_harmless(environment: Any, call: Any, then: Any, now: Any) -> bool:
    kits = [kit for kit in (environment.tools, environment.user_tools) if kit and kit.has_tool(call.name)]
    reads = bool(kits) and all(kit.tool_type(call.name).value in _READS for kit in kits)
    return reads or bool(then.error and now.error)


def _read(content: str | None) -> Any:
    """A tool's answer as tau2 compares it."""
    try:
        return json.loads(content or "")
    except json.JSONDecodeError:
        return content


def _difference(then: str, now: str) -> str:
    """The two answers from where they differ."""
    same = next((at for at, (one, other) in enumerate(zip(then, now, strict=False)) if one != other), 0)
    start = max(0, same - 20)
    shown = (" ".join(text[start : start + _SHOWN_CHARS].split()) for text in (then, now))
    return " became ".join(repr(text) for text in shown)
