"""Baseline agents: tau2's own agents, with their requests in the form of the harness's.

    llm_agent        tau2's stock agent
    llm_agent_solo   gets the customer's words as a ticket, and the customer's tools: nobody talks
    llm_agent_gt     is told the task's reference actions

They run in the worker, beside keys and answers, so none of the agent file's code is there. If they fail on a
malformed answer, that is the agent's failure, as with the harness.
"""

from typing import Any

Json = dict[str, Any]


def plain(messages: list[Json]) -> list[Json]:
    """Messages of a chat completion, reduced to what the gateway accepts from a harness."""
    return [_plain(message) for message in messages]


def _plain(message: Json) -> Json:
    said = {key: value for key, value in message.items() if value is not None}
    if "tool_calls" in said:
        said["tool_calls"] = [{key: call[key] for key in ("id", "type", "function")} for call in said["tool_calls"]]
    return said
