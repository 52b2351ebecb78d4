"""A mood: how a real server answers, what a run has to say of that, and whose fault it is.

A mood stands between a request and the model that would solve the task. `moods` has them all. tests/llm/test_moods.py
runs a task in each, and `python perf/moods.py` prints what a run says of it.
"""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llm_server import Fault

Json = dict[str, Any]
Solve = Callable[[Json], Json]


@dataclass(frozen=True)
class Mood:
    """How one role's server answers."""

    seen_at: str
    """The server or provider that does it, and when."""
    reply: Callable[[Json, Solve], Json | Fault]
    """The answer to a request. `solve` gives the message of a model that solves the task."""
    status: str
    """What the simulation's outcome has to be: a value of `Status`, or "stopped" if the run ends with one line."""
    says: str = ""
    """What its detail, or one of its notes, has to hold."""
    role: str = "agent"
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the experiment, besides its model."""
    most_calls: int = 40
    """Requests that the whole simulation may send."""


def completion(request: Json, message: Json, finish_reason: str = "", **more: Any) -> Fault:
    """A chat completion with the message as it is, of whatever shape. `more`: further fields of the body."""
    reason = finish_reason or ("tool_calls" if message.get("tool_calls") else "stop")
    prompt, answer = len(json.dumps(request)) // 4 + 1, len(json.dumps(message)) // 4 + 1
    body = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": request.get("model"),
        "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer},
    }
    return Fault(body=json.dumps(body | more))


def refused_with(status: int, error: Json | str) -> Fault:
    return Fault(status, json.dumps({"error": error} if isinstance(error, str) else error))
