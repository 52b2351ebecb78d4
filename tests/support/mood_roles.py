"""Moods: chat templates that refuse the roles of a conversation."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from llm_server import Fault
from mood import Mood, Solve, refused_with

Json = dict[str, Any]

_ALTERNATE = "Conversation roles must alternate user/assistant/user/assistant/..."
_AFTER_SYSTEM = "After the optional system message, conversation roles must alternate user/assistant/user/..."
_HELLO = "before the greeting"


def _in_turn(request: Json) -> bool:
    """As Mistral's template: tool calls and their results are not counted."""
    spoken = [
        one for one in request["messages"] if one["role"] in ("user", "assistant") and not one.get("tool_calls")
    ]
    return all((one["role"] == "user") == (place % 2 == 0) for place, one in enumerate(spoken))


def _has_no(role: str) -> Callable[[Json], bool]:
    return lambda request: all(one["role"] != role for one in request["messages"])


def _template(seen_at: str, refusal: Fault, takes: Callable[[Json], bool] = _in_turn, **more: Any) -> Mood:
    def reply(request: Json, solve: Solve) -> Json | Fault:
        return solve(request) if takes(request) else refusal

    return replace(Mood(seen_at, reply, status="passed", says=_HELLO, most_calls=10), **more)


def _error(status: int, message: str, **more: Any) -> Fault:
    return refused_with(status, {"error": {"message": message, "code": status, **more}})


ROLES: dict[str, Mood] = {
    "roles, llama.cpp": _template("llama-server", _error(400, f"Error: Jinja Exception: {_ALTERNATE}")),
    "roles, llama.cpp, 500": _template(
        "llama-server of 2025",
        _error(500, f"While executing CallExpression in source: raise_exception(...)\nError: {_AFTER_SYSTEM}"),
    ),
    "roles, vLLM 0.6": _template(
        "vLLM 0.6", refused_with(400, {"object": "error", "message": f"{_ALTERNATE} None", "code": 400})
    ),
    "roles, vLLM": _template("vLLM", _error(400, f"jinja2.exceptions.TemplateError: {_AFTER_SYSTEM}")),
    "roles, TGI": _template(
        "TGI", refused_with(422, f"Template error: invalid operation: {_ALTERNATE} (in <string>)")
    ),
    "roles, as an answer": _template(
        "OpenRouter", refused_with(200, {"error": {"message": _ALTERNATE, "code": 400}})
    ),
    "roles, Mistral": _template(
        "Mistral", _error(400, "Expected last role User or Tool", type="invalid_request_message_order")
    ),
    "roles, Perplexity": _template(
        "Perplexity",
        _error(400, "After the (optional) system message(s), user and assistant roles should be alternating."),
    ),
    "no system prompt": _template(
        "vLLM with Gemma 2",
        _error(400, "System role not supported"),
        _has_no("system"),
        says="the system prompt as a user's message",
    ),
    "no system prompt, the user's": _template(
        "llama-server with Gemma 2",
        _error(500, "Jinja Exception: Only user and assistant roles are supported!"),
        _has_no("system"),
        status="failed",  # the solver reads its scenario in the system prompt
        says="the user's model gets the system prompt",
        role="user",
        settings={"max_steps": 4},
    ),
    "no template": _template(
        "vLLM with a base model",
        _error(400, "default chat template is no longer allowed, so you must provide a chat template"),
        lambda request: False,
        status="stopped",
        says="--chat-template",
        most_calls=10,
    ),
    "no template, the user's": _template(
        "llama-server",
        _error(500, "Jinja Exception: Unexpected role"),
        lambda request: False,
        status="stopped",
        says="--chat-template",
        role="user",
    ),
    "no results of tools": _template(
        "vLLM with Gemma 3",
        _error(400, _ALTERNATE),
        lambda request: _in_turn(request) and _has_no("tool")(request),
        status="provider_error",
        says="the chat template of the agent's model refuses the conversation",
        most_calls=20,
    ),
}
"""A template that refuses roles."""
