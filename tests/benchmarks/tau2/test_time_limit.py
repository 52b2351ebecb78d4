"""timeout_s: an agent that is slow has failed, one whose LLM or customer is slow has not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import TEMPLATE
from provider import Provider

from autoharness.core.outcomes import Outcome, Status, Trial
from autoharness.core.settings import STOCK, Experiment
from autoharness.engine.score_identity import Measure

MODEL = "openai/solver"
SLEEPS = f"{TEMPLATE}\n\nimport time\nturn = HarnessAgent.generate_next_message\n\n\n" + (
    "def slowly(self, message, state):\n    time.sleep(0.3)\n    return turn(self, message, state)\n\n\n"
    "HarnessAgent.generate_next_message = slowly\n"
)
SLOW_USER = """
import time
from tau2.user.user_simulator import UserSimulator

class Slow(UserSimulator):
    def get_init_state(self, message_history=None):
        time.sleep(0.9)
        return super().get_init_state(message_history)

    def generate_next_message(self, message, state):
        time.sleep(0.5)
        return super().generate_next_message(message, state)
"""


@pytest.fixture
def run(provider: Provider, simulator: Callable[..., Any]) -> Callable[..., Outcome]:
    def run(*agent: str, **settings: Any) -> Outcome:
        made = simulator(*agent, agent_model=MODEL, **settings)
        outcome: Outcome = made.run(Trial("create_task_1", 0, 1), diagnose=False)
        return outcome

    return run


@pytest.mark.slow
def test_an_agent_that_is_slow_in_all_its_turns_together_has_failed(run: Callable[..., Outcome]) -> None:
    """None of them is over agent_timeout_s; it scores 0, so nobody voids a task by sleeping."""
    outcome = run(SLEEPS, timeout_s=0.5, agent_timeout_s=10.0)
    assert (outcome.status, outcome.reward) == (Status.TIMED_OUT, 0.0)
    assert "took over 0.5 s (timeout_s)" in outcome.detail and outcome.messages
    assert run(SLEEPS, timeout_s=60.0).status == Status.PASSED


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["harness", STOCK])
def test_a_slow_provider_is_not_the_agents_failure(
    run: Callable[..., Outcome], provider: Provider, agent: str
) -> None:
    provider.wait_s = 0.4
    outcome = run(agent=agent, timeout_s=1.0)
    assert outcome.status == Status.PASSED, outcome.detail
    assert outcome.duration_s > 4 * 0.4


@pytest.mark.slow
def test_a_slow_customer_is_not_the_agents_failure(
    run: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users.py").write_text(SLOW_USER)
    monkeypatch.chdir(tmp_path)
    assert run(user="users:Slow", timeout_s=0.8).status == Status.PASSED


def test_slow_tools_count_since_the_agent_calls_them(
    run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    from time import sleep

    from tau2.environment.environment import Environment

    make = Environment.make_tool_call

    def slowly(self: Any, tool_name: str, **arguments: Any) -> Any:
        sleep(0.5)
        return make(self, tool_name, **arguments)

    monkeypatch.setattr(Environment, "make_tool_call", slowly)  # there is no tool that takes its time
    assert run(timeout_s=0.4).status == Status.TIMED_OUT


def test_a_limit_is_part_of_what_a_score_depends_on() -> None:
    facts = {"splits": {"train": [], "test": []}, "layers": {}, "flavour": "", "version": "", "data_checksum": ""}
    ids = {Measure(Experiment(timeout_s=timeout_s), facts).id for timeout_s in (None, 60.0, 90.0)}
    assert len(ids) == 3
