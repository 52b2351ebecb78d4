"""Schema of an agent's LLM requests: text, tools as schemas, and arguments that are the same with every provider.

Everything that is not in the table is refused, so that no request reaches another model or endpoint, the internet
through a provider's own tool, or an argument of litellm. The words are not judged: those are the harness.
"""

from collections.abc import Mapping
from typing import Any

_NUMBER = (int, float)
_LARGEST = 2**63 - 1


class _Object:
    """The shape of a dictionary. The keys that end in `?` may be missing, or be empty."""

    def __init__(self, shape: dict[str, Any]) -> None:
        self.known = {key.removesuffix("?"): inner for key, inner in shape.items()}
        self.required = frozenset(key for key in shape if not key.endswith("?"))


_SPOKEN = _Object({"role": ("system", "user"), "content": str, "name?": str})
_ANSWER_OF_A_TOOL = _Object({"role": "tool", "content": str, "tool_call_id?": str, "name?": str})
_CALL = _Object({"id": str, "type?": "function", "function": _Object({"name": str, "arguments": str})})
_SAID = _Object({"role": "assistant", "content": str, "name?": str, "tool_calls?": [_CALL]})
_CALLED = _Object({"role": "assistant", "content?": str, "name?": str, "tool_calls": [_CALL]})
_FUNCTION = _Object({"name": str, "description?": str, "parameters?": dict, "strict?": bool})
_TOOL = _Object({"type": "function", "function": _FUNCTION})
_CHOICE = _Object({"type": "function", "function": _Object({"name": str})})
_JSON_SCHEMA = _Object({"name": str, "description?": str, "schema?": dict, "strict?": bool})

_ARGUMENTS: dict[str, tuple[Any, str]] = {
    "frequency_penalty": (_NUMBER, "a number"),
    "max_completion_tokens": (int, "a whole number"),
    "max_tokens": (int, "a whole number"),
    "messages": (
        [(_SPOKEN, _ANSWER_OF_A_TOOL, _SAID, _CALLED)],
        "a list; every message needs a role (system, user, assistant or tool) and a text or tool calls, and has "
        "nothing else: no images, no cache_control",
    ),
    "model": (str, "a text"),
    "parallel_tool_calls": (bool, "true or false"),
    "presence_penalty": (_NUMBER, "a number"),
    "reasoning_effort": (str, "a text"),
    "response_format": (
        (_Object({"type": ("text", "json_object")}), _Object({"type": "json_schema", "json_schema": _JSON_SCHEMA})),
        "{'type': 'text'}, {'type': 'json_object'} or {'type': 'json_schema', 'json_schema': {...}}",
    ),
    "seed": (int, "a whole number"),
    "stop": ((str, [str]), "a text or a list of texts"),
    "temperature": (_NUMBER, "a number"),
    "tool_choice": (
        ("auto", "none", "required", _CHOICE),
        "'auto', 'none', 'required' or {'type': 'function', 'function': {'name': ...}}",
    ),
    "tools": (
        [_TOOL],
        "a list; every tool must be a schema of the form {'type': 'function', 'function': {'name', 'description', "
        "'parameters'}}: a provider's own tools are not taken",
    ),
    "top_p": (_NUMBER, "a number"),
}
"""For each argument its shape, see `_fits`, and the shape in words. A wrong type breaks a client library in ways that
look like an outage."""


def beyond_schema(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that no agent may choose."""
    return {name: value for name, value in arguments.items() if name not in _ARGUMENTS}


def problem_of(request: Any) -> str:
    """What is wrong with a request of the agent, in one line; empty if nothing is."""
    if not isinstance(request, dict) or not request.get("messages"):
        return "a chat completion request needs messages"
    for name, value in request.items():
        if name not in _ARGUMENTS:
            return f"the gateway does not take {name[:80]!r}"
        shape, words = _ARGUMENTS[name]
        if value is not None and not _fits(value, shape):
            return f"{name} must be {words}, not {_culprit(value, shape)!r:.120}"
    return ""


def _fits(value: Any, shape: Any) -> bool:
    """Whether a JSON value has a shape.

    A type; a text, for itself; a tuple, for any of its shapes; [shape], for a list of it; an _Object, for a
    dictionary with these keys and no others.
    """
    if isinstance(shape, tuple):
        return any(_fits(value, one) for one in shape)
    if isinstance(shape, list):
        return isinstance(value, list) and all(_fits(one, shape[0]) for one in value)
    if isinstance(value, int) and abs(value) > _LARGEST:
        return False
    if not isinstance(shape, _Object):
        return bool(value == shape) if isinstance(shape, str) else type(value) is shape  # true is no number
    if not isinstance(value, dict):
        return False
    given = {key: inner for key, inner in value.items() if inner is not None and inner != []}
    if not shape.required <= given.keys() <= shape.known.keys():
        return False
    return all(_fits(inner, shape.known[key]) for key, inner in given.items())


def _culprit(value: Any, shape: Any) -> Any:
    """The value, or the first wrong element of a list."""
    if isinstance(shape, list) and isinstance(value, list):
        return next(one for one in value if not _fits(one, shape[0]))
    return value
