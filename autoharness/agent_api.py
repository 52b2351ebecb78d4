"""Everything that `agent/agent.py` may use: messages, tools, and `generate` to ask the LLM.

The agent runs in its own process, the agent host, which gets no keys and no task data (with `isolation: none` it has
the worker's environment, keys too). `generate` asks the gateway, which calls the experiment's model and counts what
it costs.

    message in                       UserMessage | ToolMessage | MultiToolMessage
    state.messages                   what you keep of the conversation; its shape is yours
    generate(messages=..., tools=..) AssistantMessage: the LLM's answer
    message out                      AssistantMessage: text for the user, or tool calls (then its text goes nowhere)

Every turn returns one AssistantMessage that has text or at least one tool call; an empty one ends the conversation
with a score of 0, as does an exception that you do not catch.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from autoharness.core.strict_json import loads_object

_CHAT_PATH = "/v1/chat/completions"


@dataclass
class ToolCall:
    """A request to call one tool. `requestor` says who makes it: agents leave it at "assistant"."""

    name: str
    arguments: dict[str, Any]
    id: str = ""
    requestor: Literal["assistant", "user"] = "assistant"


@dataclass
class SystemMessage:
    """Instructions for the LLM. Neither the user nor the environment sees them."""

    content: str | None = None
    role: Literal["system"] = "system"


@dataclass
class _Participant:
    content: str | None = None
    tool_calls: list[ToolCall] | None = None

    def is_tool_call(self) -> bool:
        return bool(self.tool_calls)

    def has_text_content(self) -> bool:
        return bool(self.content and self.content.strip())


@dataclass
class UserMessage(_Participant):
    """What the user said."""

    role: Literal["user"] = "user"


@dataclass
class AssistantMessage(_Participant):
    """What the agent says to the user (`content`), or the tools it wants to call (`tool_calls`)."""

    role: Literal["assistant"] = "assistant"
    cost: float | None = None
    """None: a price would tell whether the provider had seen the prompt before. tau2's message has this field."""
    usage: dict[str, int] | None = None
    """Tokens of that call: prompt_tokens and completion_tokens."""
    raw_data: dict[str, Any] | None = None
    """The completion's choice as the provider sent it, such as {"finish_reason": "stop", "message": {...}}."""


@dataclass
class ToolMessage:
    """A tool's answer. `id` is the ToolCall's; `error` says that the call failed."""

    id: str
    content: str | None = None
    error: bool = False
    requestor: Literal["assistant", "user"] = "assistant"
    role: Literal["tool"] = "tool"


@dataclass
class MultiToolMessage:
    """The answers to several tool calls of one message, in the same order."""

    tool_messages: list[ToolMessage]
    role: Literal["tool"] = "tool"


Message = SystemMessage | UserMessage | AssistantMessage | ToolMessage
"""What `generate` takes."""
AgentInput = UserMessage | ToolMessage | MultiToolMessage
"""What `generate_next_message` gets."""


@dataclass(frozen=True)
class Tool:
    """A tool of the environment, as a description: call it by returning a ToolCall with its name."""

    openai_schema: dict[str, Any]
    """{"type": "function", "function": {"name", "description", "parameters": JSON schema}}"""

    @property
    def name(self) -> str:
        return str(self.openai_schema["function"]["name"])

    @property
    def description(self) -> str:
        return str(self.openai_schema["function"].get("description", ""))

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.openai_schema["function"].get("parameters", {}))


class LLMError(Exception):
    """The gateway refused the request, or the LLM's answer is invalid. You may catch it and ask differently."""


class RequestRefused(LLMError):
    """The request itself is wrong: another model, an unknown argument, too long, or over this simulation's budget."""


class MalformedToolCall(LLMError):
    """The LLM wrote tool arguments that are not a JSON object. `content` is what it wrote."""

    def __init__(self, message: str, content: str) -> None:
        super().__init__(message)
        self.content = content


class SimulationAborted(BaseException):
    """The simulation has already ended (the LLM is out of reach). Not the agent's fault; do not catch it."""


def generate(
    messages: Sequence[Message],
    tools: Sequence[Tool] | None = None,
    tool_choice: str | dict[str, Any] | None = None,
    model: str | None = None,
    **llm_args: Any,
) -> AssistantMessage:
    """Ask the experiment's LLM for the next message.

    `model` and `reasoning_effort` are the experiment's; others are refused. `llm_args` are arguments of a chat
    completion: temperature, top_p, max_tokens, max_completion_tokens, stop, seed, response_format,
    parallel_tool_calls, presence_penalty, frequency_penalty.

    Raises RequestRefused, or MalformedToolCall if the arguments of a tool call do not parse.
    """
    request: dict[str, Any] = {"messages": to_chat(messages), **llm_args}
    if model:
        request["model"] = model
    if tools:
        request["tools"] = [tool.openai_schema for tool in tools]
        request["tool_choice"] = tool_choice or "auto"
    return from_chat(_complete(request))


def to_chat(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages in the form of an OpenAI chat completion request."""
    return [_to_chat(message) for message in messages]


def _to_chat(message: Message) -> dict[str, Any]:
    if isinstance(message, ToolMessage):
        return {"role": "tool", "content": message.content, "tool_call_id": message.id}
    chat: dict[str, Any] = {"role": message.role, "content": message.content}
    if isinstance(message, AssistantMessage) and message.tool_calls:
        chat["tool_calls"] = [_to_chat_call(call) for call in message.tool_calls]
    return chat


def _to_chat_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def from_chat(completion: dict[str, Any]) -> AssistantMessage:
    """The first choice of an OpenAI chat completion."""
    choice = completion["choices"][0]
    message = choice["message"]
    return AssistantMessage(
        content=message.get("content"),
        tool_calls=[_from_chat_call(call) for call in message.get("tool_calls") or []] or None,
        usage=completion.get("usage"),
        raw_data=choice,
    )


def _from_chat_call(call: dict[str, Any]) -> ToolCall:
    name, text = call["function"]["name"], call["function"].get("arguments") or "{}"
    try:
        arguments = loads_object(text)
    except (ValueError, TypeError) as error:
        raise MalformedToolCall(
            f"the LLM called {name} with arguments that are no JSON: {error}", str(text)
        ) from error
    return ToolCall(name=name, arguments=arguments, id=call.get("id") or "")


def _from_wire(message: dict[str, Any]) -> Any:
    """A message as it comes through the pipe, in tau2's field names."""
    if "tool_messages" in message:
        return MultiToolMessage([_from_wire(one) for one in message["tool_messages"]])
    if message["role"] == "tool":
        return ToolMessage(**{name: message[name] for name in ("id", "content", "error", "requestor")})
    kind = UserMessage if message["role"] == "user" else AssistantMessage
    calls = [ToolCall(**call) for call in message.get("tool_calls") or []]
    return kind(content=message.get("content"), tool_calls=calls or None)


def _no_gateway(request: dict[str, Any]) -> dict[str, Any]:
    raise RequestRefused("generate() works inside the agent host only; benchmark.py tries an edit")


def openai_options(asynchronous: bool = False) -> dict[str, Any]:
    """Arguments for `openai.OpenAI` (or AsyncOpenAI) and compatible clients: they then call the model of `generate`.

    base_url, api_key, http_client, max_retries. It is an httpx client that uses no network and no setting, and
    serves any number of threads and event loops. A request that is refused raises openai.BadRequestError.
    """
    import httpx  # comes with OpenAI's package

    client = httpx.AsyncClient if asynchronous else httpx.Client
    transport = httpx.MockTransport(lambda request: _http_response(httpx, request))
    return {
        "base_url": "http://gateway/v1",
        "api_key": "none",
        "http_client": client(transport=transport),
        "max_retries": 0,  # the gateway retries
    }


def _http_response(httpx: Any, request: Any) -> Any:
    status, document = _answer_openai(request.url.path, request.content, _complete)
    return httpx.Response(status, json=document)


def _answer_openai(
    path: str, body: bytes, complete: Callable[[dict[str, Any]], dict[str, Any]]
) -> tuple[int, dict[str, Any]]:
    """The status and the document with which an OpenAI server would answer. Raises SimulationAborted."""
    try:
        if path != _CHAT_PATH:
            return _openai_error(404, f"there is only {_CHAT_PATH}")
        request = loads_object(body.decode())
        if request.pop("stream", False):
            return _openai_error(400, "the gateway does not stream")
        completion = complete(_with_system_messages(request))
    except ValueError as error:
        return _openai_error(400, f"no request: {error}")
    except RequestRefused as error:
        return _openai_error(400, str(error))
    needed = {"id": "chatcmpl-0", "object": "chat.completion", "created": int(time.time()), "model": ""}
    return 200, needed | completion


def _with_system_messages(request: dict[str, Any]) -> dict[str, Any]:
    """Clients may say "developer" for "system" to a reasoning model. The gateway accepts only "system"."""
    messages = request.get("messages")
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, dict) and message.get("role") == "developer":
            message["role"] = "system"
    return request


def _openai_error(status: int, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"error": {"message": message, "type": "invalid_request_error"}}


def openai_endpoint() -> tuple[str, str]:
    """Base URL and API key for a framework that takes nothing else; if it takes a client, use `openai_options`.

    The key is for this simulation only. Raises LLMError unless the experiment has agent_base_url: true.
    """
    if not _base_url:
        raise LLMError("there is no base URL here: set agent_base_url: true in experiment_config.yaml")
    return _base_url, _token


_base_url = _token = ""


def _use_base_url(base_url: str, token: str) -> None:
    """The agent host sets here its server's base URL, and the key that the server expects."""
    global _base_url, _token
    _base_url, _token = base_url, token


_complete: Callable[[dict[str, Any]], dict[str, Any]] = _no_gateway


def _use_gateway(complete: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The agent host sets here how requests leave the process."""
    global _complete
    _complete = complete
