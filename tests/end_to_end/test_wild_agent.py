"""Whatever an agent calls and says, tau2 scores it, or it is the agent's failure: nobody voids a task by a call.

Real orchestrators and evaluators of all domains: 40 conversations of each, 1000 with AUTOHARNESS_FULL_TESTS=1.
"""

import os
import random
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted_talk import Json, ScriptedAgent, customer
from wild_agent import Wild

from autoharness.benchmarks.tau2 import databases
from autoharness.benchmarks.tau2.adapter import Limits, Tau2
from autoharness.core.errors import AgentError, JudgeError
from autoharness.core.settings import Experiment

pytestmark = pytest.mark.slow


CONVERSATIONS = 1000 if os.environ.get("AUTOHARNESS_FULL_TESTS") == "1" else 40
SLOW = {"banking_knowledge": 10}
"""One conversation in so many: its environments read seven hundred documents."""
JUDGED = "a judge is asked for: so far tau2 has scored it"


def _judge(role: str, request: Json) -> Json:
    raise JudgeError(JUDGED)


@pytest.mark.parametrize(
    "domain", ["mock", "airline", "retail", "telecom", "telecom-workflow", "banking_knowledge", "chance"]
)
def test_tau2_scores_whatever_an_agent_does(tau2: Tau2, domain: str) -> None:
    if domain == "chance":
        import chance_domain

        chance_domain.register()
    elif domain not in tau2.domains:
        pytest.skip(f"this tau2 has no {domain}")
    at = Tau2(Experiment(domain=domain))
    task_ids = list(at._tasks(domain))[:150]

    @settings(
        max_examples=max(1, CONVERSATIONS // SLOW.get(domain, 1)),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(st.integers(0, 10**9))
    def scored(seed: int) -> None:
        chance = random.Random(seed)
        task_id = chance.choice(task_ids)
        wild = Wild(at, domain, task_id, chance)
        try:
            with databases.watch():
                limits = Limits(60, chance.choice([10, 1000]))
                conversation = at.converse(domain, task_id, seed, limits, wild, wild.complete, {})
                assert at.evaluate(domain, conversation, _judge)["reward"] in (0.0, 1.0)
        except AgentError as error:
            assert error.status in ("agent_error", "timed_out")
        except JudgeError as error:
            assert str(error) == JUDGED

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydantic and Python, about what the agent sends
        scored()


@pytest.mark.parametrize("ids", [("", ""), ("1", "1"), ("same", "same")], ids=["empty", "equal", "equal-words"])
def test_ids_of_calls_may_be_anything(ids: tuple[str, str]) -> None:
    mock = Tau2(Experiment(domain="mock"))
    made = {"user_id": "user_1", "title": "Important Meeting"}
    calls = [
        {"id": ids[0], "name": "get_users", "arguments": {}},
        {"id": ids[1], "name": "create_task", "arguments": made},
    ]
    agent = ScriptedAgent({"content": "One moment.", "tool_calls": calls}, {"tool_calls": calls[:1]})
    conversation = mock.converse("mock", "create_task_1", 1, Limits(20, 10), agent, customer, {})
    assert mock.evaluate("mock", conversation, customer)["reward"] == 1.0


def test_more_calls_after_a_transfer_and_names_of_the_customers_tools_are_scored() -> None:
    telecom = Tau2(Experiment(domain="telecom"))
    task_id = next(iter(telecom._tasks("telecom")))
    turns = [
        ("transfer_to_human_agents", {"summary": "x"}),
        ("toggle_airplane_mode", {}),
        ("get_customer_by_phone", {"phone_number": "555-123-2002"}),
        [("enable_roaming", {"customer_id": "C1001", "line_id": "L1002"})] * 3,
        ("get_customer_by_phone", {"self": 1, "requestor": "user", "tool_name": "x"}),
    ]
    conversation = telecom.converse("telecom", task_id, 1, Limits(30, 100), ScriptedAgent(*turns), customer, {})
    assert telecom.evaluate("telecom", conversation, customer)["reward"] == 0.0
