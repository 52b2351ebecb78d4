"""The changes to tau2's own code, in one list.

Two more are made when they are needed: `flavours` limits the searches of banking_knowledge, and `seeded_tools`
rebinds the modules that draw random values (`random_sources.rebind`).
"""

from functools import cache, wraps
from typing import Any

from autoharness.benchmarks.tau2 import (
    databases,
    llm_calls,
    message_order,
    replay_tolerance,
    said_to_customer,
    seeded_tools,
    tool_cache,
    tool_limits,
)


@cache
def install() -> None:
    """LLM calls go to the gateway. Environments share databases and tools, and limit what an agent may make tools do.

    Conversations keep their order, and checks count what the customer was told. Once for each process.
    """
    from tau2.environment import toolkit
    from tau2.environment.db import DB
    from tau2.environment.environment import Environment
    from tau2.environment.tool import Tool
    from tau2.evaluator.evaluator_communicate import CommunicateEvaluator
    from tau2.evaluator.evaluator_nl_assertions import NLAssertionsEvaluator
    from tau2.orchestrator.orchestrator import Orchestrator

    llm_calls.route()
    _let_assertions_fail(Environment)
    seeded_tools.install(Environment)
    replay_tolerance.install(Environment)  # around it
    tool_limits.install(Environment)  # around both
    databases.install(DB, toolkit.ToolKitBase)
    tool_cache.install(toolkit, Tool)
    message_order.install(Orchestrator)
    said_to_customer.install(CommunicateEvaluator, NLAssertionsEvaluator)


def _let_assertions_fail(environment_class: Any) -> None:
    """An assertion about something that the agent never made is not met; tau2's evaluator would break off."""
    assert_in = environment_class.run_env_assertion

    @wraps(assert_in)
    def run_env_assertion(self: Any, assertion: Any, raise_assertion_error: bool = True) -> bool:
        try:
            return bool(assert_in(self, assertion, raise_assertion_error=raise_assertion_error))
        except Exception:
            if raise_assertion_error:
                raise
            return False

    environment_class.run_env_assertion = run_env_assertion
