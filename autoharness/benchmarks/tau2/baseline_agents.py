"""Baseline agents: tau2's own agents, with their errors and requests in the form of the harness's.

    llm_agent        tau2's stock agent
    llm_agent_solo   gets the customer's words as a ticket, and the customer's tools: nobody talks
    llm_agent_gt     is told the task's reference actions

They run in the worker, beside keys and answers, so none of the agent file's code is there. If they fail on a
malformed answer, that is the agent's failure, as with the harness.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from autoharness.core.errors import AgentError, AutoHarnessError

Json = dict[str, Any]


def blamed(agent: Any, name: str) -> Any:
    """The same agent, whose errors in its own turns become AgentErrors. `name`: tau2's name for it."""
    turn: Callable[..., Any] = agent.generate_next_message

    @wraps(turn)
    def generate_next_message(message: Any, state: Any) -> Any:
        try:
            answer, state = turn(message, state)
            answer.validate()
        except AutoHarnessError:
            raise
        except Exception as error:
            said = (str(error).splitlines() or [""])[0]
            raise AgentError(f"tau2's {name}: {type(error).__name__}: {said:.300}") from error
        return answer, state

    agent.generate_next_message = generate_next_message
    return agent


def plain(messages: list[Json]) -> list[Json]:
    """Messages of a chat completion, reduced to what the gateway accepts from a harness."""
    return [_plain(message) for message in messages]


def _plain(message: Json) -> Json:
    said = {key: value for key, value in message.items() if value is not None}
    if "tool_calls" in said:
        said["tool_calls"] = [{key: call[key] for key in ("id", "type", "function")} for call in said["tool_calls"]]
    return said
