"""The agent under optimisation, as a LangGraph graph: what it tells the LLM, what it remembers, and how it answers.

Each turn runs the graph once over the conversation so far. Tools are declarations: a tool call ends the turn, its
result comes with the next. What there is of auto-harness stands in `autoharness.agent_api`. Policy and tools come
from the benchmark and cannot be changed. What can be: the instructions, the graph's nodes and edges (plan, check,
ask again), what the state keeps, which messages the LLM sees, and what happens to its answer.
"""

from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, SystemMessage, convert_to_messages
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph

from autoharness.agent_api import (
    AgentInput,
    AssistantMessage,
    MalformedToolCall,
    Message,
    MultiToolMessage,
    Tool,
    ToolCall,
    openai_options,
    to_chat,
)

AGENT_INSTRUCTION = """
You are a helpful assistant that completes tasks according to the <policy> provided below.
""".strip()


@dataclass
class HarnessState:
    """What the agent remembers of one conversation."""

    messages: list[AnyMessage] = field(default_factory=list)


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
        model = ChatOpenAI(model=llm, use_responses_api=False, **openai_options())
        schemas = [tool.openai_schema for tool in tools]
        self.model = model.bind_tools(schemas, tool_choice="auto", **(llm_args or {}))
        self.graph = StateGraph(MessagesState).add_node("answer", self.answer).add_edge(START, "answer").compile()

    @property
    def system_prompt(self) -> str:
        return f"<instructions>\n{AGENT_INSTRUCTION}\n</instructions>\n<policy>\n{self.domain_policy}\n</policy>"

    def answer(self, state: MessagesState) -> dict[str, Any]:
        """The graph's one node: asks the LLM."""
        return {"messages": [self.model.invoke([SystemMessage(self.system_prompt), *state["messages"]])]}

    def get_init_state(self, message_history: list[Message] | None = None) -> HarnessState:
        """The state before the first turn; `message_history` is what was said before, such as the greeting."""
        return HarnessState(messages=convert_to_messages(to_chat(message_history or [])))

    def generate_next_message(
        self, message: AgentInput, state: HarnessState
    ) -> tuple[AssistantMessage, HarnessState]:
        """One turn: take in what came, run the graph, answer with text for the user or with tool calls."""
        heard = message.tool_messages if isinstance(message, MultiToolMessage) else [message]
        state.messages.extend(convert_to_messages(to_chat(heard)))
        messages = self.graph.invoke({"messages": state.messages})["messages"]
        answer = _to_message(messages[-1])
        state.messages = messages
        return answer, state


def _to_message(answer: AIMessage) -> AssistantMessage:
    """Raises MalformedToolCall: catch it where the LLM is to be asked again."""
    for call in answer.invalid_tool_calls:
        raise MalformedToolCall(f"the LLM called {call['name']} with arguments that are no JSON", call["args"] or "")
    calls = [ToolCall(call["name"], call["args"], call["id"] or "") for call in answer.tool_calls]
    return AssistantMessage(content=answer.text or None, tool_calls=calls or None)
