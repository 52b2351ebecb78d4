"""Fields of a model's messages that only its provider understands: it gets them back, and no agent carries them.

Thinking blocks (Claude), `reasoning_content` (DeepSeek, MiMo), `reasoning_details` (OpenRouter), signatures of tool
calls (Gemini): without them such a model refuses the request after a tool call, or forgets what it was about to do.
They are kept by what was said, so nobody can add them to words that the model never wrote.

Most servers take back what they sent, or ignore it. A few refuse it (Groq, Mistral, Cerebras: `reasoning_content`),
and no list of them stays true. So a request that is refused is made once more in the other form, and the form that is
taken is the first one from then on. A refusal costs nothing.
"""

import json
from collections.abc import Iterator
from typing import Any

from autoharness.llm.providers import LITELLMS, Model, ProviderFault, Request, Response

Json = dict[str, Any]
_Name = tuple[str, ...]

_OF_A_MESSAGE = frozenset({"role", "content", "tool_calls", "name"})
_OF_A_CALL = frozenset({"id", "type", "function", "index"})
"""What agents carry themselves."""
_NEVER_BACK = frozenset({"refusal", "annotations", "audio", "images", "function_call"})
"""OpenAI's protocol has these in answers alone."""
_REFUSALS = (400, 422)
_HARMLESS = "Hello."


class ProviderFields:
    """What the model of one role said in one trial."""

    def __init__(self) -> None:
        self._texts: dict[str, Json] = {}
        """The fields of messages without calls, by their text."""
        self._calls: dict[_Name, tuple[str, Json, Json]] = {}
        """By tool call: the text and the fields of its message, and its own fields."""
        self._together: set[tuple[_Name, ...]] = set()
        """Which calls the model made in one message."""
        self._has_fields = False
        self._refused = False
        """Whether the provider refused to get them back."""

    def note(self, response: Response) -> None:
        """Keep what the model says. Of two equal messages the latest counts."""
        message = response["choices"][0]["message"]
        text, fields = _text(message), _fields(message, _OF_A_MESSAGE)
        self._has_fields |= bool(fields)
        for call in _calls(message):
            of_call = _fields(call, _OF_A_CALL)
            self._has_fields |= bool(of_call)
            self._calls |= dict.fromkeys(_names(call), (text, fields, of_call))
        self._together.add(tuple(map(_called, _calls(message))))
        if not _calls(message):
            self._texts[text] = fields

    def ask(self, model: Model, request: Request) -> Response:
        """Ask with the fields, or without if the provider refuses those. Raises ProviderFault."""
        whole = self.put_back(request)
        first, second = (request, whole) if self._refused else (whole, request)
        try:
            return model(first)
        except ProviderFault as fault:
            if whole == request or fault.context_overflow or fault.status_code not in _REFUSALS:
                raise
            refusal = fault
        try:
            answer = model(second)
        except ProviderFault as fault:
            raise (refusal if fault.status_code in _REFUSALS else fault) from None
        self._refused = not self._refused
        return answer

    def put_back(self, request: Request) -> Request:
        """The request with the fields of each message that the model wrote, and of each call."""
        if not self._has_fields:
            return request
        return {**request, "messages": [self._whole(message) for message in request["messages"]]}

    def harmless(self, request: Request) -> Request:
        """The request with the fields, but other words in them, and without messages that the model never wrote."""
        invented = [one for one in request["messages"] if _calls(one) and not self._is_the_models(one)]
        if not self._has_fields and not invented:
            return request
        messages, is_own = [], True
        for message in request["messages"]:
            if message["role"] != "tool":  # the answers go with the calls
                is_own = message["role"] != "assistant" or self._is_the_models(message)
            if is_own:
                more = {name: _reworded(value) for name, value in self._whole(message).items() if name not in message}
                messages.append(self._whole(message) | more)
        return {**request, "messages": messages}

    def _whole(self, message: Json) -> Json:
        if message["role"] != "assistant":
            return message
        whole = {**(self._said(message) or {}), **message}
        if calls := _calls(message):
            whole["tool_calls"] = [{**self._call(call)[2], **call} for call in calls]
        return whole

    def _said(self, message: Json) -> Json | None:
        """The fields of the message; None if the model did not write it. The text beside calls may be left out."""
        if not (calls := _calls(message)):
            return self._texts.get(_text(message))
        text, fields, _ = self._call(calls[0])
        return fields if _text(message) in ("", text) else None

    def _is_the_models(self, message: Json) -> bool:
        """Whether the model said this, with all of its calls and no others."""
        together = tuple(map(_called, _calls(message)))
        return self._said(message) is not None and together in self._together

    def _call(self, call: Json) -> tuple[str | None, Json | None, Json]:
        """What is kept of a call; of one that the model did not make, nothing."""
        return next((self._calls[name] for name in _names(call) if name in self._calls), (None, None, {}))


def _reworded(value: Any) -> Any:
    return _HARMLESS if isinstance(value, str) else value


def _text(message: Json) -> str:
    content = message.get("content")
    return content.strip() if isinstance(content, str) else json.dumps(content) if content else ""


def _calls(message: Json) -> list[Json]:
    return message.get("tool_calls") or []


def _names(call: Json) -> Iterator[_Name]:
    """What a call is known by: its id too, or what it calls alone, since a framework may draw other ids."""
    called = _called(call)
    yield str(call.get("id")), *called
    yield "", *called


def _called(call: Json) -> _Name:
    return call["function"]["name"], _canonical(call["function"].get("arguments") or "{}")


def _canonical(arguments: Any) -> str:
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, TypeError, RecursionError):
        return json.dumps(arguments, sort_keys=True, default=str)


def _fields(said: Json, known: frozenset[str]) -> Json:
    """The fields beyond the known ones, under the names under which the server sent them."""
    found = {name: value for name, value in said.items() if name not in known | _NEVER_BACK}
    own = found.get(LITELLMS)
    if isinstance(own, dict) and known is _OF_A_MESSAGE:
        if "reasoning" in own and found.get("reasoning_content") == own["reasoning"]:
            del found["reasoning_content"]
        found |= {name: value for name, value in own.items() if name not in known | _NEVER_BACK}
    return {name: value for name, value in found.items() if value not in (None, [], {})}
