"""Moods: a conversation that is longer than the model's context."""

from dataclasses import replace
from typing import Any

from llm_server import Fault
from mood import Mood, Solve, refused_with

Json = dict[str, Any]


def _turns(request: Json) -> int:
    """How often the conversation has had an answer of its model."""
    return sum(message["role"] == "assistant" for message in request["messages"])


def _too_long(refusal: Fault, from_turn: int = 2) -> Mood:
    """Refused from a turn on; the agent's second, since tau2 greets the customer in its name. Nobody's on turn 0."""

    def reply(request: Json, solve: Solve) -> Json | Fault:
        return refusal if _turns(request) >= from_turn else solve(request)

    return Mood(seen_at="", reply=reply, status="agent_error", says="too long for the model", most_calls=5)


def _refusing(seen_at: str, status: int, message: str, **more: Any) -> Mood:
    refusal = refused_with(status, {"error": {"message": message, "code": status, **more}})
    return replace(_too_long(refusal), seen_at=seen_at)


_LLAMA = "the request exceeds the available context size. try increasing the context size or enable context shift"
_KEEP = (
    "Trying to keep the first 9857 tokens when context the overflows. However, the model is loaded with context "
    "length of only 4096 tokens, which is not enough. Try to load the model with a larger context length"
)


TOO_LONG: dict[str, Mood] = {
    "llama.cpp, context": _refusing("llama-server", 400, _LLAMA, type="exceed_context_size_error", n_ctx=256),
    "llama.cpp, older": _refusing("llama-server of 2025", 500, _LLAMA, type="server_error"),
    "LM Studio, context": replace(_too_long(refused_with(400, _KEEP)), seen_at="LM Studio 0.3"),
    "vLLM, context": _refusing(
        "vLLM", 400, "The decoder prompt (length 9000) is longer than the maximum model length of 8"
    ),
    "vLLM, context, no error object": replace(
        _too_long(
            refused_with(400, {"object": "error", "message": "maximum context length is 8 tokens", "code": 400})
        ),
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
        _too_long(refused_with(400, {"error": {"message": _LLAMA}}), from_turn=0),
        seen_at="llama-server with a context below the policy's length",
        status="setup_error",
        says="the context of the agent's model is too small for this task",
    ),
    "the user's, from the first request on": replace(
        _too_long(refused_with(400, {"error": {"message": _LLAMA}}), from_turn=0),
        seen_at="llama-server with a context below the scenario's length",
        role="user",
        status="setup_error",
        says="the context of the user's model is too small for this task",
    ),
    "the user's, later": replace(
        _too_long(refused_with(400, {"error": {"message": _LLAMA}}), from_turn=1),
        seen_at="llama-server",
        role="user",
        says="too long for the user's model",
        most_calls=6,
    ),
    "too many tokens for an answer": Mood(
        seen_at="a provider whose model writes less than max_tokens",
        reply=lambda request, solve: refused_with(400, {"error": {"message": "max_tokens must be at most 8192"}}),
        status="provider_error",
        most_calls=7,
    ),
    "a tool's name": Mood(
        seen_at="OpenAI",
        reply=lambda request, solve: refused_with(
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
        most_calls=7,
    ),
}
"""A conversation beyond the model's context."""
