"""What LLM calls cost: litellm's prices, those of the configuration, and what a provider states itself."""

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from autoharness.core.outcomes import Usage

_MILLION = 1_000_000
OPENAI = "openai"
"""litellm's provider that sends the name behind the slash, whatever it is, to the user's own server."""
_FREE = ("ollama/", "ollama_chat/")
"""Models on the user's machine: litellm knows none of their names, and they cost nothing."""


def litellm_prices(prices: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """The prices of the configuration, in USD for a million tokens, as litellm takes them."""
    return {
        model: {
            "input_cost_per_token": price["input"] / _MILLION,
            "output_cost_per_token": price["output"] / _MILLION,
            "cache_read_input_token_cost": price.get("cached_input", price["input"]) / _MILLION,
            "cache_creation_input_token_cost": price["input"] / _MILLION,
            "litellm_provider": model.partition("/")[0] if "/" in model else OPENAI,
            "mode": "chat",
        }
        for model, price in prices.items()
    }


def set_prices(prices: Mapping[str, Mapping[str, float]]) -> None:
    """Tell litellm prices: by model {"input", "output", perhaps "cached_input"}, in USD for a million tokens."""
    if not prices:
        return
    import litellm

    litellm.suppress_debug_info = True
    on_servers = {f"{OPENAI}/{model}": price for model, price in prices.items()}
    litellm.register_model({**litellm_prices(on_servers), **litellm_prices(prices)})


def has_price(model: str) -> bool:
    """Whether litellm knows what a token of it costs, by that name or on the user's own server.

    For names such as gpt-... and gemini-... that it has never heard of it says 0: that is no price.
    """
    import litellm

    for name in (model, f"{OPENAI}/{model}"):
        with suppress(Exception):  # litellm's errors have no common base
            known = litellm.get_model_info(name)
            prices = known.get("input_cost_per_token"), known.get("output_cost_per_token")
            if any(prices) or (None not in prices and (known["key"] in litellm.model_cost or name.startswith(_FREE))):
                return True
    return False


def stated_cost(usage: Mapping[str, Any]) -> float | None:
    """What the provider itself says that the call cost, in US dollars, as OpenRouter does; None if it does not say.

    With a key of the user's own at the provider behind it, that one's bill comes on top.
    """
    details = usage.get("cost_details")
    behind = details.get("upstream_inference_cost") if isinstance(details, dict) and usage.get("is_byok") else None
    stated: list[Any] = [usage.get("cost"), behind or 0.0]
    sound = all(type(usd) in (int, float) and 0 <= usd < math.inf for usd in stated)
    return float(sum(stated)) if sound else None


def usage_of(response: Mapping[str, Any], latency_s: float) -> Usage:
    tokens = response.get("usage") or {}
    cost_usd = response.get("cost_usd")
    return Usage(
        calls=1,
        prompt_tokens=max(0, int(tokens.get("prompt_tokens") or 0)),
        completion_tokens=max(0, int(tokens.get("completion_tokens") or 0)),
        cost_usd=cost_usd or 0.0,
        uncosted_calls=int(cost_usd is None),
        latency_s=latency_s,
    )
