"""Routes tau2's own LLM calls - user simulator, judge, baseline agent - to the gateway session.

Each of tau2's modules holds tau2's `generate` under its own name: `route` replaces all of them, once for each
process. The simulation that runs on the thread decides which session is asked.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from autoharness.benchmarks.protocol import AgentLink, Complete
from autoharness.benchmarks.tau2 import baseline_agents

Json = dict[str, Any]


@dataclass
class Running:
    """A simulation that tau2 runs on this thread."""

    link: AgentLink
    complete: Complete
    judge_args: Json | None = None
    """Arguments that replace tau2's own for its judge."""
    waited_s: float = 0.0
    """How long a baseline agent has waited for its LLM so far."""


running: ContextVar[Running] = ContextVar("running")


def route() -> None:
    """Replace tau2's `generate`. Once for each process."""
    from tau2.agent import llm_agent
    from tau2.evaluator import evaluator_nl_assertions
    from tau2.user import user_simulator
    from tau2.utils import llm_utils

    llm_utils.generate = _generate_for("user")  # where your own user simulator finds it
    llm_agent.generate = _generate_for("agent")
    user_simulator.generate = _generate_for("user")
    evaluator_nl_assertions.generate = _generate_for("judge")


def _generate_for(role: str) -> Callable[..., Any]:
    """A function like tau2's `generate`, but through the gateway."""
    from tau2.data_model.message import AssistantMessage, ToolCall
    from tau2.utils.llm_utils import to_litellm_messages

    def generate(model: str, messages: list[Any], tools: list[Any] | None = None, **llm_args: Any) -> Any:
        arguments = {key: value for key, value in llm_args.items() if key not in ("call_name", "num_retries")}
        choice = arguments.pop("tool_choice", None) or "auto"
        if role == "judge" and (others := running.get().judge_args) is not None:
            arguments = others
        chat = to_litellm_messages(messages)
        request = {"messages": baseline_agents.plain(chat) if role == "agent" else chat, **arguments}
        if tools:
            request |= {"tools": [tool.openai_schema for tool in tools], "tool_choice": choice}
        started = time.monotonic()
        completion = running.get().complete(role, request)
        if role == "agent":
            running.get().waited_s += time.monotonic() - started
        message = completion["choices"][0]["message"]
        calls = [_tool_call(call, ToolCall) for call in message.get("tool_calls") or []]
        return AssistantMessage(
            role="assistant",
            content=message.get("content"),
            tool_calls=calls or None,
            cost=completion.get("cost_usd"),
            usage=completion.get("usage"),
            raw_data=ended_by(completion["choices"][0].get("finish_reason")),
        )

    return generate


def ended_by(finish_reason: str | None) -> Json | None:
    """The `raw_data` of a message, which tau2 passes on: only that its text was cut off."""
    return {"finish_reason": finish_reason} if finish_reason == "length" else None


def _tool_call(call: Json, tool_call_class: Any) -> Any:
    function = call["function"]
    arguments = json.loads(function.get("arguments") or "{}")
    return tool_call_class(id=call.get("id") or "", name=function["name"], arguments=arguments)


@contextmanager
def asked_by(current: Running) -> Iterator[None]:
    """LLM calls that tau2 makes in the block belong to this simulation."""
    token = running.set(current)
    try:
        yield
    finally:
        running.reset(token)
