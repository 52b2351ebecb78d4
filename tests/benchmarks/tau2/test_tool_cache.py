"""Tools that are made once belong to the environment that asks for them."""

import pytest

from autoharness.benchmarks.tau2.adapter import Tau2

each_domain = pytest.mark.parametrize("domain", ["airline", "retail", "telecom", "mock"])


@each_domain
def test_each_environment_has_tools_of_its_own(tau2: Tau2, domain: str) -> None:
    one, other = (tau2._registry.get_env_constructor(domain)() for _ in range(2))
    for environment in (one, other):
        assert all(tool._func.__self__ is environment.tools for tool in environment.get_tools())


@each_domain
def test_schemas_are_tau2s_and_a_caller_that_changes_one_changes_its_own(tau2: Tau2, domain: str) -> None:
    from tau2.environment.tool import Tool

    environment = tau2._registry.get_env_constructor(domain)()
    for name, tool in environment.tools.get_tools().items():
        schema = Tool(environment.tools.tools[name]).openai_schema
        found = tool.openai_schema
        assert found == schema
        found["function"].clear()
        assert tool.openai_schema == schema
