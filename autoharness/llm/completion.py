"""What a server answered, as a chat completion of one shape; or why it is none.

`regular` reads the body of an OpenAI-compatible server before litellm sees it (`fast_path.Client`), and what litellm
makes of any provider's answer (`providers`). `Heard` stands between a provider's model and the calls of a role: each
tool call gets an id of its own, and reasoning that leaked into a text is told from what is said.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from autoharness.core import strict_json
from autoharness.core.outcomes import CUT_OFF, exact_digest
from autoharness.llm.refusals import BAD_GATEWAY, status_of

Json = dict[str, Any]

_BROKEN_OFF = re.compile("error|abort|cancel|time_?out|insufficient_system|network", re.IGNORECASE)
_FINISHED = {"stop", "length", "tool_calls", "function_call", "content_filter", "end_turn", "eos", "max_tokens"}
"""Reasons to finish: those of failures, and those that an answer without words may have."""
LIMITS = ("max_tokens", "max_completion_tokens")
"""The arguments that limit the tokens of an answer."""
_DEEPEST, _MOST_TOKENS = 60, 10**9
_COUNTED = (int, float, bool)
_LEAKS = "leaks_reasoning"
"""Field of a body: litellm removes some leaked reasoning itself, and then nothing shows that it was there."""
_BODY_TYPES = {"system_fingerprint": str, "service_tier": str, "prompt_filter_results": list, _LEAKS: bool}
_CHOICE_TYPES = {"content_filter_results": dict, "native_finish_reason": str, "provider_specific_fields": dict}
"""The fields of body and choice that are kept, besides those that are read."""
_UNREAD = ("audio", "images", "annotations", "function_call", "function", "custom", "index")
_TYPES = {
    "refusal": str,
    "reasoning": str,
    "reasoning_content": str,
    "reasoning_details": list,
    "reasoning_items": list,
    "thinking_blocks": list,
    "extra_content": dict,
    "provider_specific_fields": dict,
}
"""The types of fields of messages and calls that break litellm otherwise. All other fields are kept as they are."""

_NAME = (
    r"(?:(?:seed:|ant|[a-z]+_)?(?:think(?:ing)?|thoughts?|reasoning|analysis|reflection|scratchpad|monologue)"
    r"(?:_[a-z]+)?)"
)
_CLOSING = (
    rf"<\|?/{_NAME}\|?>|<\|end_(?:of_)?{_NAME}\|>|<\|{_NAME}_end\|>|\[/(?:THINK(?:ING)?|REASONING)\]|◁/think▷|<unused95>"
    r"|(?:<\|end\|>)?(?:<\|start\|>assistant)?<\|channel\|>final(?:<\|message\|>)?|<channel\|>|assistantfinal"
)
_OPENING = (
    rf"<\|?{_NAME}\|?(?:\s[^<>]{{0,80}})?>|<\|(?:begin_of|start)_{_NAME}\|>|<\|{_NAME}_start\|>|\[(?:THINK(?:ING)?|REASONING)\]"
    r"|◁think▷|<unused94>(?:thought)?|<\|channel\|?>\s*(?:analysis|commentary|thought)(?:<\|message\|>)?"
)
_ARGUMENTS = ("arguments", "parameters", "args", "input")
_TAG = rf"(?i)(?P<closes>{_CLOSING})|(?:{_OPENING})"  # not compiled yet: a door starts at once
_MARKS = ("<", "[", "◁", "`", "assistantfinal", "to=functions.")
_WRITTEN_CALL = (
    r"(?i)<(?:\w+:)?(?:tool_calls?|function_calls?|tool_code|start_function_call)>|\[TOOL_CALLS\]|<function="
    r"|<\|(?:tool_calls?|tool_call_start|tool_calls_section_begin|python_tag)\|>|<[|\uff5c]tool\u2581calls?\u2581begin"
    r"|<invoke name=|```tool_(?:code|call)|\bto=functions\."
)
_LEAKED_REASONING = (
    "the {}'s LLM writes its reasoning into its text: start its server with --reasoning-parser (vLLM, SGLang) or "
    "--reasoning-format (llama.cpp)"
)
_LEAKED_CALLS = (
    "the {}'s LLM writes tool calls into its text: start its server with --enable-auto-tool-choice and "
    "--tool-call-parser (vLLM), --tool-call-parser (SGLang) or --jinja (llama.cpp)"
)


class NoCompletion(Exception):
    """A body is no chat completion, or says that the provider failed: with HTTP's status code, as it names it."""

    def __init__(self, message: str, status_code: int = BAD_GATEWAY) -> None:
        super().__init__(message)
        self.status_code = status_code


def regular(body: Any) -> Json:
    """The completion that a body stands for, with its first choice alone.

    `choices[0]` has `finish_reason`, a text, and `message`: `role`, `content` (text or None), and if the model calls
    tools `tool_calls`, each {"id", "type": "function", "function": {"name", "arguments"}}, all texts. Raises
    NoCompletion.
    """
    try:
        strict_json.check_depth(body, _DEEPEST)
        completion = _completion(body)
        strict_json.dumps(completion)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        raise NoCompletion(f"not a chat completion: {_shortly(body)}") from None
    return completion


def _completion(body: Json) -> Json:
    choices = body.get("choices")
    choice = choices[0] if choices and isinstance(choices, list) else {}
    _check_success(body, choice)
    message = _message(choice["message"])
    finish_reason = _text_or(choice.get("finish_reason"), "tool_calls" if "tool_calls" in message else "stop")
    kept, usage = _of_types(choice, _CHOICE_TYPES), _usage(body.get("usage"))
    return {
        **_of_types(body, _BODY_TYPES),
        **({_LEAKS: True} if _search(_TAG, message["content"] or "") else {}),
        "id": _text_or(body.get("id"), "chatcmpl"),
        "object": "chat.completion",
        "created": _count(body.get("created"), most=2**53),
        "model": _text_or(body.get("model"), "unknown"),
        "choices": [{**kept, "index": 0, "message": message, "finish_reason": finish_reason}],
        **({"usage": usage} if usage else {}),
    }


def _check_success(body: Json, choice: Json) -> None:
    """Raises NoCompletion if the body says that the provider failed."""
    errors = [body if body.get("object") == "error" else None, body.get("error"), choice.get("error")]
    for error in errors:
        if any(error.values()) if isinstance(error, dict) else error:
            words = error if isinstance(error, str) else json.dumps(error)
            raise NoCompletion(f"the provider answered with an error: {words[:1000]}", status_of(error))
    message = choice.get("message")
    reasons = [str(choice.get(name)) for name in ("finish_reason", "native_finish_reason")]
    is_empty = isinstance(message, dict) and not (message.get("content") or message.get("tool_calls"))
    if any(map(_BROKEN_OFF.search, reasons)) or (is_empty and reasons[0].lower() not in _FINISHED):
        raise NoCompletion(f"the provider broke off with finish_reason {reasons[0]}: {_shortly(choice)}")


def _message(message: Json) -> Json:
    calls = _calls(message)
    content = _text(message.get("content"))
    if not calls and not (content or "").strip() and message.get("refusal"):
        content = _text(message["refusal"])
    kept = _others(message, ("role", "content", "tool_calls"))
    if not _is_thinking(kept.get("thinking_blocks") or []):
        del kept["thinking_blocks"]
    return {**kept, "role": "assistant", "content": content, **({"tool_calls": calls} if calls else {})}


def _text(content: Any) -> str | None:
    """Raises ValueError if it is neither a text nor parts of one."""
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list | dict):
        raise ValueError("content is no text")
    texts = [_text_of(part) for part in (content if isinstance(content, list) else [content])]
    return "".join(texts) or None


def _text_of(part: Any) -> str:
    """The text of a part of the content. Reasoning is none."""
    if isinstance(part, str):
        return part
    kind = str(part.get("type")).lower()
    if part.get("thought") is True or re.search("think|reason|thought|analysis", kind):
        return ""
    for name in ("text", "refusal", "content"):
        value = part.get(name)
        value = value.get("value") if isinstance(value, dict) else value
        if isinstance(value, str):
            return value
    if "text" in kind or "refusal" in kind or "tool" in kind:
        raise ValueError("a part of the content cannot be read")
    return ""


def _calls(message: Json) -> list[Json]:
    calls = message.get("tool_calls") or []
    if not calls and message.get("function_call"):  # as it was before there were tools
        calls = [{"function": message["function_call"]}]
    if not isinstance(calls, list | dict):
        raise ValueError("tool_calls are no list")
    return [_call(call, place) for place, call in enumerate(calls if isinstance(calls, list) else [calls])]


def _call(call: Json, place: int) -> Json:
    function = call.get("function") or call
    name = function["name"]
    if not (name and isinstance(name, str)):
        raise ValueError("a tool call without a name")
    return {
        **_others(call, ("id", "type", "name", "arguments")),
        "id": _text_or(call.get("id"), f"call_{place}"),
        "type": "function",
        "function": {"name": name, "arguments": _arguments(next(filter(None, map(function.get, _ARGUMENTS)), None))},
    }


def _arguments(given: Any) -> str:
    """As text: JSON if the model wrote JSON. Nothing, in whatever way it is written, is no arguments."""
    text = given if isinstance(given, str) else json.dumps(given)
    if text.lstrip().startswith('"'):  # perhaps written twice as JSON
        with suppress(ValueError):
            inner = str(json.loads(text))
            strict_json.loads_object(inner)
            return inner
    return "{}" if text.strip() in ("", "null") else text


def _usage(usage: Any) -> Json:
    """The tokens, and further numbers and yeses that the provider tells."""
    if not isinstance(usage, dict):
        return {}
    prompt, answer = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if not prompt + answer:
        return {}
    total = _count(usage.get("total_tokens")) or prompt + answer
    return {**_numbers(usage), "prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": total}


def _numbers(values: Json) -> Json:
    """With those of the objects in it, which are named `..._details`."""
    plain = {name: one for name, one in values.items() if type(one) in _COUNTED and 0 <= one <= _MOST_TOKENS}
    inner = {name: _numbers(one) for name, one in values.items() if isinstance(one, dict)}
    found = [(name, one) for name, one in (plain | inner).items() if name.endswith("_details") == (name in inner)]
    return {name: one for name, one in found if one != {}}


def _count(value: Any, most: int = _MOST_TOKENS) -> int:
    return int(value) if type(value) in (int, float) and math.isfinite(value) and 0 <= value <= most else 0


def _others(given: Json, read: tuple[str, ...]) -> Json:
    others = {name: value for name, value in given.items() if name not in read and name not in _UNREAD}
    wrong = {name for name, kind in _TYPES.items() if others.get(name) is not None and not _is_of(others[name], kind)}
    return {name: value for name, value in others.items() if name not in wrong}


def _of_types(given: Json, types: Mapping[str, type]) -> Json:
    return {name: given[name] for name, kind in types.items() if name in given and isinstance(given[name], kind)}


def _is_of(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and (kind is not list or all(isinstance(one, dict) for one in value))


def _is_thinking(blocks: Any) -> bool:
    texts = all(isinstance(text, str | None) for one in blocks for text in one.values())
    return texts and all(one.get("type") in ("thinking", "redacted_thinking") for one in blocks)


def _text_or(value: Any, instead: str) -> str:
    return str(value) if type(value) in (str, int) and str(value) else instead


def _shortly(value: Any) -> str:
    try:
        return json.dumps(value, default=str)[:200]
    except (RecursionError, ValueError):
        return "nested too deep"


class Heard:
    """A provider's model as one role hears it. An answer's `remarks` say what its server does wrong."""

    def __init__(self, model: Callable[[Json], Json], role: str, is_agent: bool) -> None:
        """`is_agent`: its text stays as it is, since that is its harness's to read."""
        self._model = model
        self._role = role
        self._is_agent = is_agent

    def __call__(self, request: Json) -> Json:
        """Raises what the model raises."""
        answer = self._model(request)
        message = answer["choices"][0]["message"]
        _give_own_ids(message.get("tool_calls") or [], request)
        text = message["content"] or ""
        said = without_reasoning(text)
        remarks = []
        if answer.pop(_LEAKS, False) or said != text:
            remarks.append(_LEAKED_REASONING.format(self._role))
        if request.get("tools") and "tool_calls" not in message and _search(_WRITTEN_CALL, text):
            remarks.append(_LEAKED_CALLS.format(self._role))
        if answer["choices"][0]["finish_reason"] == "length":
            most = limit_of(request)
            at = f"{most} tokens" if most < math.inf else "a limit of its server"
            remarks.append(
                f"{CUT_OFF}: the {self._role}'s LLM was stopped at {at} (max_tokens in {self._role}_llm_args)"
            )
        if not self._is_agent:
            message["content"] = said or None
        return {**answer, "remarks": remarks} if remarks else answer


def _give_own_ids(calls: list[Json], request: Json) -> None:
    """Replace the ids that earlier calls of the conversation have: the same request gives the same ids."""
    used = {call.get("id") for message in request["messages"] for call in message.get("tool_calls") or []}
    for place, call in enumerate(calls):
        if call["id"] in used:  # not by the seed: no agent may learn it
            asked = exact_digest({name: value for name, value in request.items() if name != "seed"})
            call["id"] = f"call_{asked[:16]}_{place}"
        used.add(call["id"])


def _search(pattern: str, text: str) -> bool:
    return any(mark in text for mark in _MARKS) and re.search(pattern, text) is not None


def without_reasoning(text: str) -> str:
    """What is said in a text that has reasoning in it, in whatever tags; a text without those stays as it is."""
    said: list[str] = []
    start, reasons = 0, False
    for tag in re.finditer(_TAG, text) if _search(_TAG, text) else ():
        if not tag["closes"] and not reasons:
            said.append(text[start : tag.start()])
        elif tag["closes"] and not reasons:
            said.clear()  # the reasoning began without a tag
        reasons = not tag["closes"]
        start = tag.end()
    if not start:
        return text
    said += [] if reasons else [text[start:]]
    return re.sub(r"<\|(?:end|return)\|>", "", "".join(said)).strip()


def only_reasoned(role: str, request: Json, answer: Json) -> str:
    """In words, if the model has used its whole answer for reasoning; otherwise empty."""
    choice = answer["choices"][0]
    if choice["message"].get("tool_calls") or (choice["message"].get("content") or "").strip():
        return ""
    if choice.get("finish_reason") == "length":
        limits = [name for name in LIMITS if request.get(name)]
        used = (answer.get("usage") or {}).get("completion_tokens") or (request[limits[0]] if limits else "its")
        of = f"of {limits[0]}" if limits else "that its server allows"
        return f"the {role}'s LLM used all {used} tokens {of} for reasoning"
    leaked = _LEAKED_REASONING.format(role) in (answer.get("remarks") or [])
    return f"the {role}'s LLM sent its reasoning and no answer" if leaked else ""


def limit_of(request: Json) -> float:
    """The most tokens that an answer may have by a request."""
    return request.get(LIMITS[1]) or request.get(LIMITS[0]) or math.inf


def says_something(message: Json) -> bool:
    """Whether there is a text, or tool calls that all parse."""
    calls = message.get("tool_calls") or []
    try:
        for call in calls:
            strict_json.loads_object(call["function"].get("arguments") or "{}")
    except (ValueError, TypeError):
        return False
    return bool(calls or (message.get("content") or "").strip())
