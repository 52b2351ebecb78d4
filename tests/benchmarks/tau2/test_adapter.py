"""tau2 behind one module: registry, splits, facts, and the package that only shares its name."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.benchmarks.tau2.databases import differences
from autoharness.benchmarks.tau2.participants import AGENT_NAME
from autoharness.benchmarks.tau2.tool_limits import takes_for_ever
from autoharness.core.errors import UserError
from autoharness.core.outcomes import Status, Trial
from autoharness.core.settings import HARNESS, SOLO, Experiment
from autoharness.core.tasks import cut

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def test_the_agent_stands_in_tau2s_registry_once(tau2: Tau2) -> None:
    """Making a second Tau2 in the process does not register it again."""
    from tau2.registry import registry

    Tau2()
    assert registry.get_agents().count(AGENT_NAME) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("domain", "train", "test", "base"),
    [("airline", 30, 20, 50), ("retail", 74, 40, 114), ("telecom", 74, 40, 114), ("telecom-workflow", 74, 40, 114)],
)
def test_splits_are_tau2s(tau2: Tau2, domain: str, train: int, test: int, base: int) -> None:
    splits = tau2.facts(domain).splits
    assert (len(splits["train"]), len(splits["test"]), len(splits["base"])) == (train, test, base)
    assert set(splits["train"]).isdisjoint(splits["test"])
    assert set(splits["train"]) | set(splits["test"]) == set(splits["base"])


def test_a_set_without_train_and_test_is_cut(tau2: Tau2) -> None:
    splits = tau2.facts("mock").splits
    assert splits == tau2.facts("mock").splits == cut(splits["base"])
    assert len(splits["train"]) + len(splits["test"]) == len(splits["base"])
    assert splits["train"] and splits["test"]


def test_facts_name_what_scores_depend_on(tau2: Tau2) -> None:
    facts = tau2.facts("airline")
    assert facts.version and len(facts.data_checksum) == 64
    assert facts.data_checksum == tau2.facts("airline").data_checksum != tau2.facts("retail").data_checksum
    assert "Airline Agent Policy" in facts.policy
    assert {tool["function"]["name"] for tool in facts.tools} >= {"book_reservation", "cancel_reservation"}


def test_what_follows_from_an_experiment_is_not_taken_over_by_another() -> None:
    """The policy of a domain is another one for an agent that works alone."""
    harness, alone = (Tau2(Experiment(domain="telecom", agent=agent)) for agent in (HARNESS, SOLO))
    task_id = harness.facts("telecom").splits["small"][0]
    assert harness.script("telecom", task_id).policy != alone.script("telecom", task_id).policy
    assert alone.facts("telecom").policy == alone.script("telecom", task_id).policy


def test_an_unknown_domain_is_named_with_the_nearest(tau2: Tau2) -> None:
    with pytest.raises(UserError, match="'retial' is unknown; did you mean 'retail'"):
        tau2.facts("retial")


@given(JSON)
def test_a_value_does_not_differ_from_itself(value: object) -> None:
    assert list(differences(value, value)) == []


@given(JSON, JSON)
def test_values_that_differ_are_said_to_differ(one: object, other: object) -> None:
    """A missing key and an explicit None are told apart nowhere else, so not here either."""
    if list(differences(one, other)):
        assert one != other or type(one) is not type(other) or isinstance(one, dict | list)
    elif not isinstance(one, dict | list):
        assert one == other


def test_a_difference_says_where() -> None:
    expected = {"users": {"anna": {"orders": ["a", "b"], "age": 3}}}
    actual = {"users": {"anna": {"orders": ["a"], "age": 4}}}
    assert list(differences(expected, actual)) == [
        {"path": "users.anna.orders[1]", "expected": "b", "actual": None},
        {"path": "users.anna.age", "expected": 3, "actual": 4},
    ]


def _in_a_process_that_finds(folder: Path) -> str:
    code = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(ROOT)!r}]; "
    code += "from autoharness.benchmarks.tau2.adapter import Tau2; Tau2()"
    return (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr.strip().splitlines()[-1]
    )


def test_the_unrelated_package_of_the_same_name_is_said_to_be_unrelated(tmp_path: Path) -> None:
    """The index's own `tau2` has modules such as these, and no registry."""
    package = tmp_path / "tau2"
    package.mkdir()
    for name in ("__init__.py", "cli.py", "hysteresis.py", "utils.py"):
        (package / name).touch()
    message = _in_a_process_that_finds(tmp_path)
    assert "SetupError" in message and "unrelated" in message and "pip uninstall -y tau2" in message


@pytest.mark.slow
def test_a_record_that_grows_with_every_call_ends_the_conversation(simulator: Callable[..., Any]) -> None:
    """tau2 doubles a reservation's payments whenever it is cancelled again: memory, and a task to void."""
    agent = """
from autoharness.agent_api import AssistantMessage, ToolCall
class HarnessAgent:
    def __init__(self, tools, domain_policy, llm=None, llm_args=None): pass
    def get_init_state(self, message_history=None): return None
    def generate_next_message(self, message, state):
        calls = [ToolCall("cancel_reservation", {"reservation_id": "NQNU5R"}, str(n)) for n in range(60)]
        return AssistantMessage(tool_calls=calls), state
"""
    outcome = simulator(agent, domain="airline", agent_model="offline/clerk").run(Trial("37", 0, 1), diagnose=False)
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert "cancel_reservation until its answer was over 1000000 characters" in outcome.detail


CALLER = """
from autoharness.agent_api import AssistantMessage, ToolCall
class HarnessAgent:
    def __init__(self, tools, domain_policy, llm=None, llm_args=None): pass
    def get_init_state(self, message_history=None): return None
    def generate_next_message(self, message, state):
        return AssistantMessage(tool_calls=[ToolCall(NAME, ARGUMENTS, str(n)) for n in range(COUNT)]), state
"""


def _calling(name: str, count: int, **arguments: Any) -> str:
    return f"{CALLER}\nNAME, ARGUMENTS, COUNT = {name!r}, {arguments!r}, {count}\n"


@pytest.mark.slow
def test_answers_of_tools_without_end_are_the_agents_fault(simulator: Callable[..., Any]) -> None:
    """Otherwise the outcome would be too long for the door: a task to void."""
    agent = _calling("get_product_details", 100, product_id="9523456873")
    outcome = simulator(agent, domain="retail", agent_model="offline/clerk").run(Trial("0", 0, 1), diagnose=False)
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert "their answers were over 4000000 characters" in outcome.detail


def test_a_power_that_takes_days_is_an_error_of_the_tool(simulator: Callable[..., Any]) -> None:
    """tau2 works it out in the worker, with the interpreter's lock held: it would stand still for everybody."""
    agent = _calling("calculate", 1, expression="9**9**9")
    outcome = simulator(agent, domain="retail", agent_model="offline/clerk").run(Trial("0", 0, 1), diagnose=False)
    assert (outcome.status, outcome.reward) == (Status.FAILED, 0.0)
    answers = [message for message in outcome.messages if message["role"] == "tool"]
    assert answers and all(one["error"] and "Invalid" in one["content"] for one in answers)


def test_a_call_that_breaks_tau2_is_the_agents_fault(simulator: Callable[..., Any]) -> None:
    """The price of the bags has 4301 digits; Python writes down 4300. tau2 itself raises: a task to void."""
    bags = {"reservation_id": "VAAOXJ", "total_baggages": 10**4299, "nonfree_baggages": 10**4299}
    agent = _calling("update_reservation_baggages", 1, **bags, payment_id="credit_card_1052991")
    outcome = simulator(agent, domain="airline", agent_model="offline/clerk").run(Trial("0", 0, 1), diagnose=False)
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert "update_reservation_baggages breaks tau2" in outcome.detail


@pytest.mark.parametrize(
    ("expression", "refused"),
    [
        ("2 * 3 + 4 / 5", False),
        ("100 * 1.05 ** 12", False),
        ("1.05**-2*3", False),
        ("9**9**9", True),
        ("9**(9**9)", True),
        ("(9**999)**999", True),
        ("9**1000", True),
        ("9**99.5", False),
        ("9**99.5**99.5", False),
        ("(" + "9" * 1000 + ")**999", True),
        (["9**9**9"], False),
    ],
)
def test_which_powers_are_refused(expression: Any, refused: bool) -> None:
    assert takes_for_ever(expression) == refused


def test_bytecode_beside_the_data_is_no_part_of_it(tau2: Tau2) -> None:
    """It differs between two installations of the same data, whose scores compare."""
    files = tau2.facts("telecom").data_files
    assert "domains/telecom/tasks.json" in files
    assert not [name for name in files if name.endswith(".pyc")]
