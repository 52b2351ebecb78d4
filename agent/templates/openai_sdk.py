"""The agent under optimisation, with OpenAI's SDK: what it tells the LLM, what it remembers, and how it answers.

The client asks the experiment's LLM, whatever its provider is, and reaches nothing else. What there is of
auto-harness stands in `autoharness.agent_api`. Policy and tools come from the benchmark and cannot be changed. What
can be: the instructions, what the state keeps, which messages the LLM sees, what else the client asks for, and what
happens to the answer before it goes out.
"""

from dataclasses import dataclass, field
from typing import Any

from openai import OpenAI

from autoharness.agent_api import (
    AgentInput,
    AssistantMessage,
    Message,
    MultiToolMessage,
    SystemMessage,
    Tool,
    from_chat,
    openai_options,
    to_chat,
)

AGENT_INSTRUCTION = """
You are a helpful assistant that completes tasks according to the <policy> provided below.
""".strip()


@dataclass
class HarnessState:
    """What the agent remembers of one conversation."""

    messages: list[Message] = field(default_factory=list)


class HarnessAgent:
    """Answers the user's messages and the tools' results, one at a time."""

    def __init__(
        self,
        tools: list[Tool],
        domain_policy: str,
        llm: str,
        llm_args: dict[str, Any] | None = None,
    ) -> None:
        self.client = OpenAI(**openai_options())
        self.tools = tools
        self.domain_policy = domain_policy
        self.llm = llm
        self.llm_args = llm_args or {}

    @property
    def system_prompt(self) -> str:
        return f"<instructions>\n{AGENT_INSTRUCTION}\n</instructions>\n<policy>\n{self.domain_policy}\n</policy>"

    def get_init_state(self, message_history: list[Message] | None = None) -> HarnessState:
        """The state before the first turn; `message_history` is what was said before, such as the greeting."""
        return HarnessState(messages=list(message_history or []))

    def generate_next_message(
        self, message: AgentInput, state: HarnessState
    ) -> tuple[AssistantMessage, HarnessState]:
        """One turn: take in what came, ask the LLM, answer with text for the user or with tool calls."""
        if isinstance(message, MultiToolMessage):
            state.messages.extend(message.tool_messages)
        else:
            state.messages.append(message)
        completion = self.client.chat.completions.create(
            model=self.llm,
            messages=to_chat([SystemMessage(self.system_prompt), *state.messages]),
            tools=[tool.openai_schema for tool in self.tools],
            tool_choice="auto",
            **self.llm_args,
        )
        answer = from_chat(completion.to_dict())
        state.messages.append(answer)
        return answer, state
