"""Moods: what a provider wants back with a message, and which arguments it refuses."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from llm_server import Fault
from mood import Mood, Solve, completion

Json = dict[str, Any]


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


def _refused(seen_at: str, argument: str, words: str, advice: str, **settings: Any) -> Mood:
    """The run ends with this advice: after the call, a greeting with the argument, and one without."""
    says = f"openai/solver refuses {argument}: {advice}"
    return Mood(seen_at, _refuses(argument, words), "stopped", says, settings=settings, most_calls=5)


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
    "temperature-of-the-agent": _refused(
        "Claude since Opus 4.7",
        "temperature",
        "`temperature` is deprecated for this model.",
        "set agent_llm_args: {}, user_llm_args: {}, judge_llm_args: {} in",
    ),
    "temperature-of-all": replace(
        _refused(
            "OpenAI's reasoning models",
            "temperature",
            "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) value is "
            "supported.",
            "set agent_llm_args: {}, user_llm_args: {}",
        ),
        role="all",
        most_calls=4,
    ),
    "top-p-beside-temperature": Mood(
        seen_at="Claude 4.x",
        reply=_refuses("top_p", "`temperature` and `top_p` cannot both be specified for this model.", "temperature"),
        status="stopped",
        says='openai/solver refuses temperature: set agent_llm_args: {"top_p": 0.9}',
        settings={"agent_llm_args": {"temperature": 0.0, "top_p": 0.9}},
        most_calls=5,
    ),
    "an-effort": _refused(
        "models that do not think",
        "reasoning_effort",
        "Unrecognized request argument supplied: reasoning_effort",
        "set another reasoning_effort, or none",
        reasoning_effort="low",
    ),
    "an-effort-in-other-words": _refused(
        "Claude Haiku 3.5",
        "reasoning_effort",
        "adaptive thinking is not supported on this model",
        "set another reasoning_effort, or none",
        reasoning_effort="low",
    ),
    "an-argument-of-the-body": Mood(
        seen_at="OpenAI's own server, and top_k",
        reply=_refuses("top_k", "Unknown parameter: 'top_k'."),
        status="stopped",
        says="openai/solver refuses extra_body: set agent_llm_args: {} in experiment_config.yaml",
        settings={"agent_llm_args": {"extra_body": {"top_k": 20}}},
        most_calls=5,
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
