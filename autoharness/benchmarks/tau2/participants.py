"""Who talks in a tau2 conversation: the proxy of the agent in its host or a baseline agent, and whom errors blame."""

from collections.abc import Callable, Iterable
from functools import cache, wraps
from typing import Any

from autoharness.benchmarks import user_code
from autoharness.benchmarks.tau2.flavours import Nvidia, Sierra
from autoharness.benchmarks.tau2.llm_calls import ended_by, running
from autoharness.core.errors import AgentError, AutoHarnessError, EvaluationError, SimulationError
from autoharness.core.settings import HARNESS, SOLO, Experiment

AGENT_NAME = "custom_agent"
_TURN = "generate_next_message"

Json = dict[str, Any]


def agent_of(flavour: Nvidia | Sierra, experiment: Experiment, environment: Any, task: Any) -> Any:
    """The proxy of the harness, or a baseline agent."""
    name, tools = experiment.agent, environment.get_tools()
    if name == SOLO and environment.user_tools:
        tools += environment.get_user_tools()
    made_with: Json = {"tools": tools, "domain_policy": environment.get_policy(), "llm": "agent"}
    if name == HARNESS:
        return flavour.agent(AGENT_NAME, task, **made_with, llm_args={})
    args = dict(experiment.agent_llm_args)
    return blamed(flavour.agent(name, task, **made_with, llm_args=args), [_TURN], AgentError, f"tau2's {name}")


def blamed(participant: Any, methods: Iterable[str], error_class: type[SimulationError], name: str) -> Any:
    """The same agent or user simulator; what these methods raise, or an invalid message, is an `error_class`."""
    for method in methods:
        setattr(participant, method, _blamed(getattr(participant, method), error_class, name, method == _TURN))
    return participant


def _blamed(
    method: Callable[..., Any], error_class: type[SimulationError], name: str, is_turn: bool
) -> Callable[..., Any]:
    @wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            result = method(*arguments, **named)
            if is_turn:
                message, _ = result
                message.validate()
        except AutoHarnessError:
            raise
        except user_code.STOPS as error:
            raise error_class(f"{name} raised {user_code.in_short(error)}") from error
        return result

    return call


@cache
def proxy_class() -> Any:
    from pydantic import ValidationError
    from tau2.agent.llm_agent import LLMAgent
    from tau2.data_model.message import AssistantMessage, ToolCall

    class HarnessAgentProxy(LLMAgent):  # type: ignore[misc]  # tau2's `run_task` takes subclasses of it alone
        """Stands for the HarnessAgent in the agent host."""

        def get_init_state(self, message_history: list[Any] | None = None) -> None:
            schemas = [tool.openai_schema for tool in self.tools]
            history = [_to_wire(message) for message in message_history or []]
            running.get().link.start(schemas, self.domain_policy, dict(self.llm_args), history)

        def generate_next_message(self, message: Any, state: None) -> tuple[Any, None]:
            reply = running.get().link.next(_to_wire(message))
            try:
                calls = [ToolCall(**call) for call in reply["tool_calls"]]
                answer = AssistantMessage(
                    role="assistant",
                    content=reply["content"],
                    tool_calls=calls or None,
                    cost=reply["cost_usd"],
                    raw_data=ended_by(reply.get("finish_reason")),
                )
            except ValidationError as error:
                raise AgentError(f"the agent returned an invalid message: {error.errors()[0]['msg']}") from error
            return answer, None

        def stop(self, message: Any = None, state: Any = None) -> None:
            pass

    return HarnessAgentProxy


class NoAgent:
    """Stands in if no agent host is asked: the conversation is over, or a baseline agent has it."""

    waited_s = 0.0

    def start(self, tools: list[Json], domain_policy: str, llm_args: Json, history: list[Json]) -> None:
        raise EvaluationError("tau2 started an agent where there is none")

    def next(self, message: Json) -> Json:
        raise EvaluationError("tau2 asked an agent where there is none")


def _to_wire(message: Any) -> Json:
    if hasattr(message, "tool_messages"):
        return {"role": "tool", "tool_messages": [_to_wire(one) for one in message.tool_messages]}
    if message.role == "tool":
        names = {"role", "id", "content", "error", "requestor"}
    else:
        names = {"role", "content", "tool_calls"}
    return dict(message.model_dump(include=names))
