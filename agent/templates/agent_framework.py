"""The agent under optimisation, with Microsoft Agent Framework: what it tells the LLM, remembers, and answers.

Each turn runs the framework's agent once over the conversation so far. Tools are declarations: a tool call ends the
turn, its result comes with the next. What there is of auto-harness stands in `autoharness.agent_api`. Policy and
tools come from the benchmark and cannot be changed. What can be: the instructions, the agent (options, middleware,
context providers, further agents), what the state keeps, which messages the LLM sees, and what happens to its
answer.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from agent_framework import Agent, Content, FunctionTool
from agent_framework import Message as FrameworkMessage
from agent_framework.openai import OpenAIChatCompletionClient
from openai import AsyncOpenAI

from autoharness.agent_api import (
    AgentInput,
    AssistantMessage,
    MalformedToolCall,
    Message,
    MultiToolMessage,
    Tool,
    ToolCall,
    ToolMessage,
    openai_options,
)

AGENT_INSTRUCTION = """
You are a helpful assistant that completes tasks according to the <policy> provided below.
""".strip()


@dataclass
class HarnessState:
    """What the agent remembers of one conversation."""

    messages: list[FrameworkMessage] = field(default_factory=list)


class HarnessAgent:
    """Answers the user's messages and the tools' results, one at a time."""

    def __init__(
        self,
        tools: list[Tool],
        domain_policy: str,
        llm: str,
        llm_args: dict[str, Any] | None = None,
    ) -> None:
        self.domain_policy = domain_policy
        self.agent = Agent(
            OpenAIChatCompletionClient(
                llm,
                async_client=AsyncOpenAI(**openai_options(asynchronous=True)),
                function_invocation_configuration={"enabled": False},  # the benchmark runs the tools
            ),
            instructions=self.system_prompt,
            tools=[FunctionTool(name=t.name, description=t.description, input_model=t.parameters) for t in tools],
            default_options={"tool_choice": "auto", **(llm_args or {})},
        )

    @property
    def system_prompt(self) -> str:
        return f"<instructions>\n{AGENT_INSTRUCTION}\n</instructions>\n<policy>\n{self.domain_policy}\n</policy>"

    def get_init_state(self, message_history: list[Message] | None = None) -> HarnessState:
        """The state before the first turn; `message_history` is what was said before, such as the greeting."""
        return HarnessState(messages=[_from_message(message) for message in message_history or []])

    def generate_next_message(
        self, message: AgentInput, state: HarnessState
    ) -> tuple[AssistantMessage, HarnessState]:
        """One turn: take in what came, run the agent, answer with text for the user or with tool calls."""
        heard = message.tool_messages if isinstance(message, MultiToolMessage) else [message]
        state.messages.extend(_from_message(one) for one in heard)
        response = asyncio.run(self.agent.run(state.messages))
        answer = _to_message(response.messages[-1])
        for one in response.messages:
            one.author_name = None  # or the LLM would be told the agent's name with every answer
        state.messages.extend(response.messages)
        return answer, state


def _from_message(message: Message) -> FrameworkMessage:
    if isinstance(message, ToolMessage):
        return FrameworkMessage("tool", [Content.from_function_result(message.id, result=message.content)])
    words = [Content.from_text(message.content)] if message.content else []
    calls = getattr(message, "tool_calls", None) or []
    return FrameworkMessage(
        message.role,
        [*words, *(Content.from_function_call(call.id, call.name, arguments=call.arguments) for call in calls)],
    )


def _to_message(answer: FrameworkMessage) -> AssistantMessage:
    calls = [_to_call(content) for content in answer.contents if content.type == "function_call"]
    return AssistantMessage(content=answer.text or None, tool_calls=calls or None)


def _to_call(content: Content) -> ToolCall:
    """Raises MalformedToolCall: catch it where the LLM is to be asked again."""
    arguments = content.parse_arguments() or {}
    if "raw" in arguments:
        raise MalformedToolCall(
            f"the LLM called {content.name} with arguments that are no JSON", str(content.arguments)
        )
    return ToolCall(content.name or "", arguments, content.call_id or "")
