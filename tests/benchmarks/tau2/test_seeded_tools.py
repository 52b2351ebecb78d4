"""What tau2's tools draw, and the time that they read, is the same in a conversation and in its replay."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import chance_domain
import pytest
from chance_domain import SOURCES
from conftest import ROOT
from scripted_talk import Json, ScriptedAgent, Turn, customer

from autoharness.benchmarks.tau2 import databases, seeded_tools
from autoharness.benchmarks.tau2.adapter import Conversation, Limits, Tau2
from autoharness.core.errors import EvaluationError
from autoharness.core.settings import Experiment

each_source = pytest.mark.parametrize("source", SOURCES)


@pytest.fixture(scope="module")
def chance() -> Tau2:
    tau2 = Tau2(Experiment(domain=chance_domain.NAME))
    chance_domain.register()
    return tau2


def _talk(tau2: Tau2, task_id: str, *turns: Turn, seed: int = 1, domain: str = chance_domain.NAME) -> Conversation:
    return tau2.converse(domain, task_id, seed, Limits(50, 10), ScriptedAgent(*turns), customer, {})


def _answers(conversation: Conversation) -> list[str]:
    return [one["content"] for one in conversation.messages if one["role"] == "tool"]


def _draw(name: str) -> tuple[str, Json]:
    return "draw", {"name": name}


@each_source
def test_a_tool_that_draws_answers_the_replay_as_it_did(chance: Tau2, source: str) -> None:
    """Also where a call is made twice, beside others, or left out in the replay as tau2-bench 1.0.x does."""
    look = "look", {"name": source}
    conversation = _talk(chance, "nothing", look, _draw(source), [_draw(source), look, _draw("uuid4"), _draw(source)])
    drawn = _answers(conversation)
    assert len(set(drawn)) == len(drawn) == 6, "each call draws anew"
    assert chance.evaluate(chance_domain.NAME, conversation, customer)["reward"] == 0.0
    assert chance.evaluate(chance_domain.NAME, conversation, customer)["reward"] == 0.0


@each_source
def test_the_reference_actions_draw_something_else_as_with_plain_tau2(chance: Tau2, source: str) -> None:
    conversation = _talk(chance, source, _draw(source))
    assert chance.evaluate(chance_domain.NAME, conversation, customer)["reward"] == 0.0


@each_source
def test_attempts_at_a_trial_draw_the_same_and_other_trials_do_not(chance: Tau2, source: str) -> None:
    first, second, other = (_answers(_talk(chance, "nothing", _draw(source), seed=seed)) for seed in (1, 1, 2))
    assert first == second
    assert first != other or source in _CLOCKS


_CLOCKS = {name for name in SOURCES if any(word in name for word in ("time", "monotonic", "perf"))}
"""A trial's time of day says nothing about its seed."""


def test_what_the_customer_draws_is_the_same_too(chance: Tau2) -> None:
    def with_tools(role: str, request: Json) -> Json:
        if request["messages"][-1]["role"] == "tool":
            return customer(role, request)
        call = {"id": "1", "function": {"name": "draw", "arguments": json.dumps({"name": "uuid4"})}}
        return {"choices": [{"message": {"content": None, "tool_calls": [call]}}], "cost_usd": 0.0}

    agent = ScriptedAgent(_draw("uuid4"), "Draw, please.", _draw("uuid4"))
    conversation = chance.converse(chance_domain.NAME, "nothing", 1, Limits(20, 10), agent, with_tools, {})
    assert len({*_answers(conversation)}) > 3
    conversation.simulation.termination_reason = type(conversation.simulation.termination_reason)("user_stop")
    assert chance.evaluate(chance_domain.NAME, conversation, customer)["reward"] == 0.0


def test_simulations_on_other_threads_do_not_disturb_it(chance: Tau2) -> None:
    def drawn(seed: int) -> list[str]:
        conversation = _talk(chance, "nothing", *[_draw("choice-by-name"), _draw("numpy")] * 10, seed=seed)
        chance.evaluate(chance_domain.NAME, conversation, customer)
        return _answers(conversation)

    alone = [drawn(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(drawn, [0, 1, 2, 3] * 3)) == alone * 3


def test_messages_keep_the_time_at_which_they_were_made(chance: Tau2) -> None:
    """A tool's clock is for the tool: it would put its answers before their calls."""
    conversation = _talk(chance, "nothing", *[_draw("time")] * 3)
    times = [one["timestamp"] for one in conversation.messages]
    assert times == sorted(times)
    made = [one["timestamp"] for one in conversation.messages if one["role"] != "user"]
    assert len(set(made)) == len(made)


def test_nobody_works_out_a_seed_from_what_was_drawn() -> None:
    """The key of a simulation is another one in another process, so no table of keys tells a trial's seed."""
    code = "from autoharness.benchmarks.tau2.seeded_tools import key_of; print(key_of('mock', '1', 7).hex())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    key = seeded_tools.key_of("mock", "1", 7)
    assert key == seeded_tools.key_of("mock", "1", 7) != seeded_tools.key_of("mock", "1", 8)
    assert key.hex() != other.stdout.strip()


def test_a_conversation_whose_draws_are_not_known_raises_as_ever(chance: Tau2) -> None:
    conversation = _talk(chance, "nothing", _draw("uuid4"))
    conversation.key = None
    with pytest.raises(EvaluationError):
        chance.evaluate(chance_domain.NAME, conversation, customer)


def test_a_bill_that_is_drawn_for_a_refuel_voids_no_task() -> None:
    """An agent that had made a mistake made this call as well, and had another try at the task."""
    telecom = Tau2(Experiment(domain="telecom"))
    refuel = "refuel_data", {"customer_id": "C1002", "line_id": "L1004", "gb_amount": 1}
    bills = "get_bills_for_customer", {"customer_id": "C1002"}
    task_id = next(iter(telecom._tasks("telecom")))
    conversation = _talk(telecom, task_id, refuel, bills, refuel, bills, domain="telecom")
    known = {bill.bill_id for bill in telecom._environment("telecom").tools.db.bills}
    drawn = {one["bill_id"] for answer in _answers(conversation)[1::2] for one in json.loads(answer)} - known
    assert len(drawn) == 1, "this customer has no draft of a bill: the tool makes one, under an id that it draws"
    scored = telecom.evaluate("telecom", conversation, customer)
    assert scored["reward"] == 0.0
    with databases.plain():
        assert telecom.evaluate("telecom", conversation, customer) == scored, "nor does verify_sample"
