"""Every change to tau2's own code, in one list."""

from functools import cache, wraps
from typing import Any

from autoharness.benchmarks.tau2 import (
    databases,
    message_order,
    replay_tolerance,
    said_to_customer,
    seeded_tools,
    tool_cache,
    tool_limits,
)


@cache
def change_environments() -> None:
    """Environments share databases and tools, and limit what an agent may make their tools do.

    Conversations keep their order, and checks count what the customer was told. Once for each process.
    """
    from tau2.environment import toolkit
    from tau2.environment.db import DB
    from tau2.environment.environment import Environment
    from tau2.environment.tool import Tool
    from tau2.evaluator.evaluator_communicate import CommunicateEvaluator
    from tau2.evaluator.evaluator_nl_assertions import NLAssertionsEvaluator
    from tau2.orchestrator.orchestrator import Orchestrator

    seeded_tools.install(Environment)
    replay_tolerance.install(Environment)  # around it
    tool_limits.install(Environment)  # around both
    databases.install(DB, toolkit.ToolKitBase)
    tool_cache.install(toolkit, Tool)
    message_order.install(Orchestrator)
    said_to_customer.install(CommunicateEvaluator, NLAssertionsEvaluator)


def let_assertions_fail() -> None:
    """tau2's evaluator breaks off if it asks for something that the agent should have made: now it is not met."""
    from tau2.environment.environment import Environment

    assert_in = getattr(Environment.run_env_assertion, "__wrapped__", Environment.run_env_assertion)

    @wraps(assert_in)
    def run_env_assertion(self: Any, assertion: Any, raise_assertion_error: bool = True) -> bool:
        try:
            return bool(assert_in(self, assertion, raise_assertion_error=raise_assertion_error))
        except Exception:
            if raise_assertion_error:
                raise
            return False

    Environment.run_env_assertion = run_env_assertion
