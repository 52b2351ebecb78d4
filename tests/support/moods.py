"""Answers as real servers send them: what each is, what a run has to say of it, and whose fault it is.

A mood stands between a request and the model that would solve the task. `tests/llm/test_moods.py` runs a task in each
of them; `python perf/moods.py` prints what a run says of each.
"""

import itertools
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
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
    """Of the experiment, besides the model."""
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


def _wants_back(of_message: Json, of_calls: Json, words: str, texts: bool = False) -> Callable[[Json, Solve], Fault]:
    """A server that sends these fields, and refuses a request in which a message or call of its own lacks them.

    Google's server refuses any name that it does not know, so this one does too. `texts`: it wants them of messages
    without calls too, but for tau2's own greeting.
    """

    def reply(request: Json, solve: Solve) -> Fault:
        for message in request["messages"]:
            calls = message.get("tool_calls") or []
            if message["role"] != "assistant" or not (
                calls or (texts and "How can I help" not in message["content"])
            ):
                continue
            if {**message, **of_message} != message or any({**call, **of_calls} != call for call in calls):
                return Fault(400, json.dumps({"error": {"message": words}}))
            names = message.keys() - {"role", "content", "tool_calls"} - of_message.keys()
            names |= {name for call in calls for name in call} - {"id", "type", "function"} - of_calls.keys()
            if names:
                return Fault(400, json.dumps({"error": {"message": f"Unknown name {names.pop()!r}"}}))
        said = solve(request)
        calls = [{**call, **of_calls} for call in said["tool_calls"]]
        return completion(request, {**said, **of_message, "tool_calls": calls, "refusal": None, "annotations": []})

    return reply


def _takes_none_back(request: Json, solve: Solve) -> Fault:
    for place, message in enumerate(request["messages"]):
        if message["role"] == "assistant" and "reasoning_content" in message:
            words = f"'messages.{place}' : property 'reasoning_content' is unsupported"
            return Fault(400, json.dumps({"error": {"message": words}}))
    return completion(request, {**solve(request), "reasoning_content": "Let me see."})


def _refuses(argument: str, words: str, beside: str = "") -> Callable[[Json, Solve], Fault]:
    """A model that refuses an argument, or only if another one is there too."""
    refusal = Fault(400, json.dumps({"error": {"message": words, "type": "invalid_request_error"}}))

    def reply(request: Json, solve: Solve) -> Fault:
        refused = argument in request and (not beside or beside in request)
        return refusal if refused else completion(request, solve(request))

    return reply


def _needs(arguments: Json) -> Callable[[Json, Solve], Fault]:
    """A server that has to be asked with these arguments."""
    missing = Fault(400, json.dumps({"error": {"message": "what was configured did not arrive"}}))
    return lambda request, solve: (
        completion(request, solve(request)) if {**request, **arguments} == request else missing
    )


_DEEPSEEK = "The `reasoning_content` in the thinking mode must be passed back to the API."
_CLAUDE = "messages.3.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`."
_GEMINI = "Function call is missing a thought_signature in functionCall parts."
_SEEN = {"type": "thinking", "thinking": "Let me see.", "signature": "EqQBCkYIBx"}
_DETAILS = [
    {"type": "reasoning.encrypted", "data": "gAAAA", "id": "rs_1", "format": "openai-responses-v1", "index": 0}
]
_BEYOND = {"top_k": 20, "min_p": 0.1, "repetition_penalty": 1.05, "thinking": {"type": "disabled"}, "max_tokens": 900}
_TEMPLATE = {"chat_template_kwargs": {"enable_thinking": False}}

FIELDS: dict[str, Mood] = {
    "reasoning-content": Mood(
        seen_at="DeepSeek V4, Xiaomi MiMo, thinking, with tools",
        reply=_wants_back({"reasoning_content": "Let me see."}, {}, _DEEPSEEK),
        status="passed",
        most_calls=8,
    ),
    "reasoning-content-empty": Mood(
        seen_at="DeepSeek V4 if it calls a tool without a thought",
        reply=_wants_back({"reasoning_content": ""}, {}, _DEEPSEEK),
        status="passed",
        most_calls=8,
    ),
    "reasoning-content-of-texts": Mood(
        seen_at="DeepSeek V4 behind some gateways: in every message",
        reply=_wants_back({"reasoning_content": "Let me see."}, {}, _DEEPSEEK, texts=True),
        status="passed",
        most_calls=8,
    ),
    "reasoning-content-of-the-user": Mood(
        seen_at="the same as user simulator",
        reply=_wants_back({"reasoning_content": "Let me see."}, {}, _DEEPSEEK, texts=True),
        status="passed",
        role="user",
        most_calls=8,
    ),
    "thinking-blocks": Mood(
        seen_at="Claude with an effort and tools, behind a LiteLLM proxy",
        reply=_wants_back({"reasoning_content": "Let me see.", "thinking_blocks": [_SEEN]}, {}, _CLAUDE),
        status="passed",
        most_calls=8,
    ),
    "thought-signature": Mood(
        seen_at="Gemini 3 by its OpenAI endpoint",
        reply=_wants_back({}, {"extra_content": {"google": {"thought_signature": "CiQBcsj"}}}, _GEMINI),
        status="passed",
        most_calls=8,
    ),
    "thought-signature-of-litellm": Mood(
        seen_at="Gemini 3 behind a LiteLLM proxy",
        reply=_wants_back({}, {"provider_specific_fields": {"thought_signature": "CiQBcsj"}}, _GEMINI),
        status="passed",
        most_calls=8,
    ),
    "reasoning-details": Mood(
        seen_at="OpenRouter",
        reply=_wants_back({"reasoning": "Let me see.", "reasoning_details": _DETAILS}, {}, "reasoning is incomplete"),
        status="passed",
        most_calls=8,
    ),
    "reasoning": Mood(
        seen_at="vLLM since 0.12, Groq, Cerebras",
        reply=_wants_back({"reasoning": "Let me see."}, {}, "no reasoning in a message of the assistant"),
        status="passed",
        most_calls=8,
    ),
    "a-field-of-tomorrow": Mood(
        seen_at="nobody yet",
        reply=_wants_back({"state": {"of": ["mind", 1]}}, {"proof": "abc"}, "state or proof is missing"),
        status="passed",
        most_calls=8,
    ),
    "nothing-back": Mood(
        seen_at="Groq, Mistral, Cerebras: they refuse reasoning_content",
        reply=_takes_none_back,
        status="passed",
        most_calls=9,
    ),
    "temperature-of-the-agent": Mood(
        seen_at="Claude since Opus 4.7",
        reply=_refuses("temperature", "`temperature` is deprecated for this model."),
        status="stopped",
        says="openai/solver refuses temperature: set agent_llm_args: {}, user_llm_args: {}, judge_llm_args: {} in",
        most_calls=4,
    ),
    "temperature-of-all": Mood(
        seen_at="OpenAI's reasoning models",
        reply=_refuses(
            "temperature",
            "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) value is "
            "supported.",
        ),
        status="stopped",
        says="user_llm_args: {}",
        role="all",
        most_calls=3,
    ),
    "top-p-beside-temperature": Mood(
        seen_at="Claude 4.x",
        reply=_refuses("top_p", "`temperature` and `top_p` cannot both be specified for this model.", "temperature"),
        status="stopped",
        says='openai/solver refuses temperature: set agent_llm_args: {"top_p": 0.9}',
        settings={"agent_llm_args": {"temperature": 0.0, "top_p": 0.9}},
        most_calls=4,
    ),
    "an-effort": Mood(
        seen_at="models that do not think",
        reply=_refuses("reasoning_effort", "Unrecognized request argument supplied: reasoning_effort"),
        status="stopped",
        says="openai/solver refuses reasoning_effort: set another reasoning_effort, or none",
        settings={"reasoning_effort": "low"},
        most_calls=4,
    ),
    "an-argument-of-the-body": Mood(
        seen_at="OpenAI's own server, and top_k",
        reply=_refuses("top_k", "Unknown parameter: 'top_k'."),
        status="stopped",
        says="openai/solver refuses extra_body: set agent_llm_args: {} in experiment_config.yaml",
        settings={"agent_llm_args": {"extra_body": {"top_k": 20}}},
        most_calls=4,
    ),
    "an-effort-in-other-words": Mood(
        seen_at="Claude Haiku 3.5",
        reply=_refuses("reasoning_effort", "adaptive thinking is not supported on this model"),
        status="stopped",
        says="openai/solver refuses reasoning_effort",
        settings={"reasoning_effort": "low"},
        most_calls=4,
    ),
    "arguments-beyond-openai": Mood(
        seen_at="vLLM, SGLang, DeepSeek: arguments that only they know",
        reply=_needs({**_BEYOND, **_TEMPLATE}),
        status="passed",
        role="all",
        settings={f"{role}_llm_args": {**_BEYOND, "extra_body": _TEMPLATE} for role in ("agent", "user", "judge")},
        most_calls=8,
    ),
}
"""What a provider wants back, and which arguments it takes."""


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


def _refusal(status: int, error: Json | str) -> Fault:
    return Fault(status, json.dumps({"error": error} if isinstance(error, str) else error))


def _turns(request: Json) -> int:
    """How often the conversation has had an answer of its model."""
    return sum(message["role"] == "assistant" for message in request["messages"])


def _too_long(refusal: Fault, from_turn: int = 2) -> Mood:
    """Refused from a turn on; the agent's second, since tau2 greets the customer in its name. Nobody's on turn 0."""

    def reply(request: Json, solve: Solve) -> Json | Fault:
        return refusal if _turns(request) >= from_turn else solve(request)

    return Mood(seen_at="", reply=reply, status="agent_error", says="too long for the model", most_calls=5)


def _refusing(seen_at: str, status: int, message: str, **more: Any) -> Mood:
    refusal = _refusal(status, {"error": {"message": message, "code": status, **more}})
    return replace(_too_long(refusal), seen_at=seen_at)


_LLAMA = "the request exceeds the available context size. try increasing the context size or enable context shift"
_KEEP = (
    "Trying to keep the first 9857 tokens when context the overflows. However, the model is loaded with context "
    "length of only 4096 tokens, which is not enough. Try to load the model with a larger context length"
)


TOO_LONG: dict[str, Mood] = {
    "llama.cpp, context": _refusing("llama-server", 400, _LLAMA, type="exceed_context_size_error", n_ctx=256),
    "llama.cpp, older": _refusing("llama-server of 2025", 500, _LLAMA, type="server_error"),
    "LM Studio, context": replace(_too_long(_refusal(400, _KEEP)), seen_at="LM Studio 0.3"),
    "vLLM, context": _refusing(
        "vLLM", 400, "The decoder prompt (length 9000) is longer than the maximum model length of 8"
    ),
    "vLLM, context, no error object": replace(
        _too_long(_refusal(400, {"object": "error", "message": "maximum context length is 8 tokens", "code": 400})),
        seen_at="vLLM 0.6",
    ),
    "SGLang, context": _refusing(
        "SGLang", 400, "Input length (265330) exceeds model's maximum context length (262144)."
    ),
    "Anthropic, context": _refusing("Claude", 400, "prompt is too long: 213462 tokens > 200000 maximum"),
    "Bedrock, context": _refusing("Bedrock", 400, "Input is too long for requested model."),
    "Gemini, context": _refusing(
        "Gemini", 400, "The input token count (9) exceeds the maximum number of tokens allowed (8)."
    ),
    "TGI, context": _refusing("TGI", 422, "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 and 200"),
    "nginx, 413": replace(_too_long(Fault(413, "<html>Request Entity Too Large</html>")), seen_at="a proxy"),
    "by its type alone": _refusing("any", 400, "bad request", type="context_length_exceeded"),
    "from the first request on": replace(
        _too_long(_refusal(400, {"error": {"message": _LLAMA}}), from_turn=0),
        seen_at="llama-server with a context below the policy's length",
        status="setup_error",
        says="the context of the agent's model is too small for this task",
    ),
    "the user's, from the first request on": replace(
        _too_long(_refusal(400, {"error": {"message": _LLAMA}}), from_turn=0),
        seen_at="llama-server with a context below the scenario's length",
        role="user",
        status="setup_error",
        says="the context of the user's model is too small for this task",
    ),
    "the user's, later": replace(
        _too_long(_refusal(400, {"error": {"message": _LLAMA}}), from_turn=1),
        seen_at="llama-server",
        role="user",
        says="refused what the agent said",
        most_calls=6,
    ),
    "too many tokens for an answer": Mood(
        seen_at="a provider whose model writes less than max_tokens",
        reply=lambda request, solve: _refusal(400, {"error": {"message": "max_tokens must be at most 8192"}}),
        status="provider_error",
        most_calls=5,
    ),
    "a tool's name": Mood(
        seen_at="OpenAI",
        reply=lambda request, solve: _refusal(
            400,
            {
                "error": {
                    "message": "Invalid 'tools[0].function.name': string too long. Expected a string with maximum "
                    "length 64, but got a string with length 70 instead.",
                    "code": "string_above_max_length",
                }
            },
        ),
        status="provider_error",
        most_calls=5,
    ),
}
"""A conversation beyond the model's context."""

_FILTERED = {
    "error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "code": "content_filter",
        "innererror": {"code": "ResponsibleAIPolicyViolation"},
    }
}


def _filters(refusal: Fault | None = None, content: str | None = None) -> Callable[[Json, Solve], Fault]:
    """A filter that refuses every request, or cuts every answer."""
    return lambda request, solve: refusal or completion(request, {"content": content}, "content_filter")


def _priced(**usage: Any) -> Callable[[Json, Solve], Fault]:
    """A million prompt tokens in each call; with further fields of its usage."""
    counted = {"prompt_tokens": 1_000_000, "completion_tokens": 0, "total_tokens": 1_000_000, **usage}
    return lambda request, solve: completion(request, solve(request), usage=counted)


MONEY: dict[str, Mood] = {
    "a filter's 400": Mood(
        seen_at="Azure",
        reply=_filters(_refusal(400, _FILTERED)),
        status="provider_error",
        says="the provider's content filter refused",
        most_calls=6,
    ),
    "a filter's 403": Mood(
        seen_at="OpenRouter's moderation",
        reply=_filters(_refusal(403, {"error": {"message": "Your input was flagged", "code": 403}})),
        status="provider_error",
        says="the provider's content filter refused",
        most_calls=6,
    ),
    "a filter's empty answer": Mood(
        seen_at="Azure, Gemini",
        reply=_filters(),
        status="provider_error",
        says="the provider's content filter refused",
        most_calls=6,
    ),
    "a filter's cut answer": Mood(
        seen_at="Azure",
        reply=_filters(content="You could"),
        status="provider_error",
        says="the provider's content filter refused",
        most_calls=6,
    ),
    "a filter's 400, the user's": Mood(
        seen_at="Azure",
        reply=_filters(_refusal(400, _FILTERED)),
        status="user_error",
        says="the provider's content filter refused",
        role="user",
        most_calls=4,
    ),
    "a filter's empty answer, the user's": Mood(
        seen_at="Azure",
        reply=_filters(),
        status="user_error",
        says="the provider's content filter refused",
        role="user",
        most_calls=4,
    ),
    "a stated cost": Mood(
        seen_at="OpenRouter",
        reply=_priced(cost=0.25),
        status="agent_error",
        says="budget of the simulation spent: 0.2500 USD",
        settings={"max_simulation_cost_usd": 0.2},
        most_calls=8,
    ),
}
"""What an answer costs, and what a filter refuses."""

MOODS = FIELDS | SHAPES | TOO_LONG | MONEY
