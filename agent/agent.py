"""The agent under optimisation: what it tells the LLM, what it remembers, and how it answers each turn.

Everything that this file may use is in `autoharness.agent_api`; read its first page. Policy and tools come from the
benchmark and cannot be changed. What can be: the instructions, what the state keeps, which messages the LLM sees, and
what happens to its answer before it goes out.
"""

from dataclasses import dataclass, field
from typing import Any

from autoharness.agent_api import (
    AgentInput,
    AssistantMessage,
    Message,
    MultiToolMessage,
    SystemMessage,
    Tool,
    generate,
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
        llm: str | None = None,
        llm_args: dict[str, Any] | None = None,
    ) -> None:
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
        answer = generate(
            model=self.llm,
            messages=[SystemMessage(self.system_prompt), *state.messages],
            tools=self.tools,
            **self.llm_args,
        )
        state.messages.append(answer)
        return answer, state
