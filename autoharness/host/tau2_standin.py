"""A small stand-in for `tau2`, for agent files that import tau2 itself: tau2's names, over `agent_api`.

It has only what an agent file imports, under the module names of both flavours. The real tau2, its data and its
evaluator are out of the agent host's reach.
"""

import sys
from copy import deepcopy
from types import ModuleType
from typing import Any

from autoharness import agent_api


class LLMAgent:
    """The base class of tau2's LLM agents, as far as your own agent needs it."""

    def __init__(
        self,
        tools: list[agent_api.Tool],
        domain_policy: str,
        llm: str | None = None,
        llm_args: dict[str, Any] | None = None,
    ) -> None:
        self.tools = tools
        self.domain_policy = domain_policy
        self.llm = llm
        self.llm_args = deepcopy(llm_args) if llm_args is not None else {}

    def __class_getitem__(cls, _: Any) -> type:
        return cls

    def set_seed(self, seed: int) -> None:
        self.llm_args["seed"] = seed

    def stop(self, message: Any = None, state: Any = None) -> None:
        pass


def is_valid_agent_history_message(message: Any) -> bool:
    if isinstance(message, agent_api.ToolMessage):
        return message.requestor == "assistant"
    if isinstance(message, agent_api.UserMessage):
        return not message.is_tool_call()
    return isinstance(message, agent_api.AssistantMessage)


_MESSAGES = {
    name: getattr(agent_api, name)
    for name in (
        "AssistantMessage",
        "Message",
        "MultiToolMessage",
        "SystemMessage",
        "ToolCall",
        "ToolMessage",
        "UserMessage",
    )
} | {"APICompatibleMessage": agent_api.Message}

_BASE = {
    "AgentError": type("AgentError", (Exception,), {}),
    "BaseAgent": LLMAgent,
    "LocalAgent": LLMAgent,
    "HalfDuplexAgent": LLMAgent,
    "ValidAgentInputMessage": agent_api.AgentInput,
    "is_valid_agent_history_message": is_valid_agent_history_message,
}

_MODULES: dict[str, dict[str, Any]] = {
    "tau2": {},
    "tau2.agent": {},
    "tau2.agent.base": _BASE,
    "tau2.agent.base_agent": _BASE,
    "tau2.agent.llm_agent": {"LLMAgent": LLMAgent},
    "tau2.data_model": {},
    "tau2.data_model.message": _MESSAGES,
    "tau2.environment": {},
    "tau2.environment.tool": {"Tool": agent_api.Tool},
    "tau2.utils": {},
    "tau2.utils.llm_utils": {"generate": agent_api.generate},
}


def install() -> None:
    """Put the stand-in where `import tau2` finds it first; a missing name is an ImportError that says so."""
    for name, contents in _MODULES.items():
        module = ModuleType(name, __doc__)
        module.__path__ = []  # a package without files: the real tau2's submodules are not looked for
        vars(module).update(contents)
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
