"""Validates an agent's reply as its host reports it: it comes from untrusted code."""

from typing import Any

from autoharness.core.channel import Message
from autoharness.core.errors import AgentError
from autoharness.core.strict_json import check_depth, dumps

_LONGEST_REPLY_BYTES = 100_000  # a whole conversation has to fit into one message to the door
_MOST_TOOL_CALLS = 100
"""In one message. tau2 runs each call in the worker."""
_DEEPEST_ARGUMENTS = 50  # much deeper ones break tau2's copying, which would look like tau2's own failure


def checked_reply(reply: Any) -> Message:
    """The answer as {"content": str | None, "tool_calls": [{"id", "name", "arguments"}]}.

    Raises AgentError if it is not a valid message.
    """
    if not isinstance(reply, dict) or not isinstance(reply.get("tool_calls"), list):
        raise AgentError("the agent returned what is no message")
    content, calls = reply.get("content"), reply["tool_calls"]
    if not (content is None or isinstance(content, str)):
        raise AgentError(f"the agent returned content that is no text: {content!r:.80}")
    if not calls and not (content and content.strip()):
        raise AgentError("the agent returned an empty message: neither text nor tool calls")
    if len(calls) > _MOST_TOOL_CALLS:
        raise AgentError(f"the agent returned a message with over {_MOST_TOOL_CALLS} tool calls")
    checked = {"content": content, "tool_calls": [_checked_call(call) for call in calls]}
    if len(dumps(checked)) > _LONGEST_REPLY_BYTES:
        raise AgentError(f"the agent returned a message of over {_LONGEST_REPLY_BYTES} bytes")
    return checked


def _checked_call(call: Any) -> Message:
    if not (isinstance(call, dict) and isinstance(call.get("name"), str) and isinstance(call.get("id"), str)):
        raise AgentError(f"the agent returned a tool call without name or id: {call!r:.80}")
    if not isinstance(call.get("arguments"), dict):
        raise AgentError(f"the agent called {call['name']:.40} with arguments that are no dictionary")
    try:
        check_depth(call["arguments"], _DEEPEST_ARGUMENTS)
    except ValueError as error:
        raise AgentError(f"the agent called {call['name']:.40} with arguments {error}") from error
    return {key: call[key] for key in ("id", "name", "arguments")}
