"""Moods: what an answer costs, and what a content filter refuses."""

from collections.abc import Callable
from typing import Any

from llm_server import Fault
from mood import Mood, Solve, completion, refused_with

Json = dict[str, Any]


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
        reply=_filters(refused_with(400, _FILTERED)),
        status="provider_error",
        says="the provider's content filter refused",
        most_calls=7,
    ),
    "a filter's 403": Mood(
        seen_at="OpenRouter's moderation",
        reply=_filters(refused_with(403, {"error": {"message": "Your input was flagged", "code": 403}})),
        status="provider_error",
        says="the provider's content filter refused",
        most_calls=7,
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
        reply=_filters(refused_with(400, _FILTERED)),
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
