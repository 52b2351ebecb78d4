"""A time limit for one conversation, checked where tau2-bench 1.0.x checks its own: after a step, before a turn.

tau2's clock runs while an LLM is awaited, so a slow provider fails the agent; ours stops then, and in the user
simulator's turns. What is left is the agent's own code and the tools that it calls: if they take too long, that is
the agent's failure, so it cannot void a task by being slow.
"""

import time
from collections.abc import Callable
from typing import Any

from autoharness.benchmarks.tau2.custom_user import USER_METHODS
from autoharness.core.errors import AgentTimeout


def put_on(orchestrator: Any, timeout_s: float, waited_s: Callable[[], float]) -> None:
    """Start the limit now. `waited_s`: how long the agent has waited for its LLM so far. Steps raise AgentTimeout."""
    step, user = orchestrator.step, orchestrator.user
    begun, users_s = time.monotonic(), 0.0

    def not_counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal users_s
            started = time.monotonic()
            try:
                return method(*arguments, **named)
            finally:
                users_s += time.monotonic() - started

        return call

    def limited() -> None:
        step()
        if orchestrator.done or orchestrator.to_role.value == "env":
            return
        if time.monotonic() - begun - users_s - waited_s() >= timeout_s:
            raise AgentTimeout(f"the agent's code and its tools took over {timeout_s:g} s (timeout_s)")

    for name in USER_METHODS:
        setattr(user, name, not_counted(getattr(user, name)))
    orchestrator.step = limited
