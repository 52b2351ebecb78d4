"""An agent that makes the calls and says the words of a test, and a customer who hangs up after goodbye."""

import json
from typing import Any

Json = dict[str, Any]
Turn = str | tuple[str, Json] | list[tuple[str, Json]] | Json
"""Words, a call, calls of one message, or a whole reply."""


class ScriptedAgent:
    """An AgentLink."""

    waited_s = 0.0

    def __init__(self, *turns: Turn) -> None:
        self._turns = list(turns)
        self.heard: list[Json] = []

    def start(self, tools: list[Json], domain_policy: str, llm_args: Json, history: list[Json]) -> None:
        pass

    def next(self, message: Json) -> Json:
        self.heard.append(message)
        return _reply(self._turns.pop(0) if self._turns else "Goodbye.")


def _reply(turn: Turn) -> Json:
    if isinstance(turn, dict):
        return {"content": None, "tool_calls": [], "cost_usd": 0.0} | turn
    if isinstance(turn, str):
        return {"content": turn, "tool_calls": [], "cost_usd": 0.0}
    calls = turn if isinstance(turn, list) else [turn]
    made = [{"id": str(number), "name": name, "arguments": given} for number, (name, given) in enumerate(calls)]
    return {"content": None, "tool_calls": made, "cost_usd": 0.0}


def customer(role: str, request: Json) -> Json:
    said = "###STOP###" if "Goodbye" in json.dumps(request["messages"][-1]) else "Please go on."
    return {"choices": [{"message": {"content": said}}], "cost_usd": 0.0}
