"""Replays that differ: harmless ones are scored and say so, the others raise as ever, and no score rises."""

import json
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from conftest import RECORDINGS, TEMPLATE
from hypothesis import given
from hypothesis import strategies as st

from autoharness.benchmarks.tau2.adapter import Conversation, Limits, Tau2
from autoharness.benchmarks.tau2.replay_tolerance import _difference
from autoharness.core.errors import EvaluationError
from autoharness.core.outcomes import REPLAYED_OTHERWISE, Status, Trial
from autoharness.core.settings import Experiment
from autoharness.engine.score_identity import Measure

RECORDING = RECORDINGS / "airline-base-gpt-oss-120b.json"
TASK = "create_task_1"
WANTED = ("create_task", {"user_id": "user_1", "title": "Important Meeting"})
"""What the task asks for: whatever changes more fails it."""
CREATE = ("create_task", {"user_id": "user_1", "title": "Mischief"})
NO_SUCH_USER = ("create_task", {"user_id": "nobody", "title": "Mischief"})
LOOK = ("get_users", {})

FAILS_ONCE = f"""{TEMPLATE}
from autoharness.agent_api import AssistantMessage, ToolCall
turn, failed = HarnessAgent.generate_next_message, []

def generate_next_message(self, message, state):
    if not failed:
        failed.append(1)
        return AssistantMessage(tool_calls=[ToolCall("create_task", {NO_SUCH_USER[1]!r}, "1")]), state
    return turn(self, message, state)

HarnessAgent.generate_next_message = generate_next_message
"""

Json = dict[str, Any]


class _Agent:
    """Makes the calls, one after the other, and says goodbye."""

    waited_s = 0.0

    def __init__(self, *calls: tuple[str, Json]) -> None:
        self._calls = list(calls)

    def start(self, tools: list[Json], domain_policy: str, llm_args: Json, history: list[Json]) -> None:
        pass

    def next(self, message: Json) -> Json:
        if not self._calls:
            return {"content": "Goodbye.", "tool_calls": [], "cost_usd": 0.0}
        name, arguments = self._calls.pop(0)
        return {"content": None, "tool_calls": [{"id": "1", "name": name, "arguments": arguments}], "cost_usd": 0.0}


def _customer(role: str, request: Json) -> Json:
    said = "###STOP###" if "Goodbye" in json.dumps(request["messages"][-1]) else "Please begin."
    return {"choices": [{"message": {"content": said}}], "cost_usd": 0.0}


@pytest.fixture
def tolerant() -> Tau2:
    return Tau2(Experiment(domain="mock", replay_tolerance=True))


@pytest.fixture
def talk(tolerant: Tau2) -> Callable[..., Conversation]:
    """A conversation in which an agent does what is wanted, and makes these calls."""
    Tau2()  # a second one in the process changes nothing

    def talk(*calls: tuple[str, Json]) -> Conversation:
        return tolerant.converse("mock", TASK, 1, Limits(50, 10), _Agent(WANTED, *calls), _customer, {})

    return talk


def _recorded(conversation: Conversation, content: str, error: bool) -> None:
    """Has the last tool answer say otherwise than it did, as another version of the tool would have."""
    answer = [message for message in conversation.simulation.messages if message.role == "tool"][-1]
    answer.content, answer.error = content, error


def test_the_words_of_an_error_are_harmless(tau2: Tau2, tolerant: Tau2, talk: Callable[..., Conversation]) -> None:
    conversation = talk(NO_SUCH_USER)
    _recorded(conversation, "Error: no such user, said version 1", error=True)
    with pytest.raises(EvaluationError):
        tau2.evaluate("mock", conversation, _customer)
    assert tolerant.evaluate("mock", conversation, _customer)["reward"] == 1.0
    (note,) = conversation.notes
    assert note.startswith(f"{REPLAYED_OTHERWISE}: create_task: ") and "version 1" in note and " became " in note


def test_what_a_reading_tool_answers_is_harmless(tolerant: Tau2, talk: Callable[..., Conversation]) -> None:
    """tau2-bench 1.0.1 does not even ask it."""
    conversation = talk(LOOK)
    _recorded(conversation, "[]", error=False)
    assert tolerant.evaluate("mock", conversation, _customer)["reward"] == 1.0


def test_without_differences_there_are_no_notes(tolerant: Tau2, talk: Callable[..., Conversation]) -> None:
    conversation = talk(LOOK, NO_SUCH_USER)
    assert tolerant.evaluate("mock", conversation, _customer)["reward"] == 1.0
    assert conversation.notes == []


def test_an_agent_cannot_have_what_it_did_taken_back(
    tau2: Tau2, tolerant: Tau2, talk: Callable[..., Conversation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It makes a forbidden change that fails in the replay: the replayed databases are untouched, and would pass.

    Tolerating every replay that fails, as other runners do, gives such an agent its score.
    """
    conversation = talk(CREATE)
    assert tolerant.evaluate("mock", conversation, _customer)["reward"] == 0.0
    from tau2.domains.mock.tools import MockTools

    use = MockTools.use_tool

    def use_once(self: Any, tool_name: str, **arguments: Any) -> Any:
        if arguments.get("title") == "Mischief":
            raise ValueError("it works once only")
        return use(self, tool_name, **arguments)

    monkeypatch.setattr(MockTools, "use_tool", use_once)  # no tool of tau2's does that today
    for judge in (tau2, tolerant):
        with pytest.raises(EvaluationError, match="tau2's evaluator raised ValueError"):
            judge.evaluate("mock", conversation, _customer)


@pytest.mark.parametrize(
    ("call", "content", "error"),
    [(CREATE, "Error: it did not work", True), (CREATE, '{"task_id": "task_9"}', False), (CREATE, "", False)],
    ids=["failed-then", "changed-another", "said-nothing"],
)
def test_another_answer_of_a_call_that_changes_something_raises_as_ever(
    tolerant: Tau2, talk: Callable[..., Conversation], call: Any, content: str, error: bool
) -> None:
    conversation = talk(call)
    _recorded(conversation, content, error)
    with pytest.raises(EvaluationError):
        tolerant.evaluate("mock", conversation, _customer)


def test_a_call_that_is_tolerated_gives_the_score_of_the_conversation_without_it(
    tau2: Tau2, tolerant: Tau2, talk: Callable[..., Conversation]
) -> None:
    """Why tolerance raises no score: the agent could have had it by not making the call."""
    for calls, expected in ([(), 1.0], [(CREATE,), 0.0]):
        without = tau2.evaluate("mock", talk(*calls), _customer)["reward"]
        with_it = talk(*calls, NO_SUCH_USER)
        _recorded(with_it, "Error: said otherwise", error=True)
        assert tolerant.evaluate("mock", with_it, _customer)["reward"] == without == expected


@pytest.mark.skipif(not RECORDING.exists(), reason="needs the published conversations")
def test_published_conversations_whose_replay_raises_have_their_published_reward(tau2: Tau2) -> None:
    """In three of fifty an error names another version of a library."""
    from tau2.data_model.simulation import SimulationRun

    tolerant = Tau2(Experiment(domain="airline", replay_tolerance=True))
    published = {one["task_id"]: one for one in json.loads(RECORDING.read_text())["simulations"]}
    for task_id in ("8", "20", "42"):
        task = tau2._tasks("airline")[task_id]
        conversation = Conversation(task, None, SimulationRun(**published[task_id]))
        with pytest.raises(EvaluationError):
            tau2.evaluate("airline", conversation, _customer)
        scored = tolerant.evaluate("airline", conversation, _customer)
        assert scored["reward"] == published[task_id]["reward_info"]["reward"]
        assert "book_reservation" in conversation.notes[0]


def test_an_outcome_says_what_was_tolerated(simulator: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Here an error counts how often it was made."""
    from tau2.domains.mock.tools import MockTools

    made, use = count(), MockTools.use_tool

    def use_tool(self: Any, tool_name: str, **arguments: Any) -> Any:
        if arguments.get("user_id") == "nobody":
            raise ValueError(f"mistake number {next(made)}")
        return use(self, tool_name, **arguments)

    monkeypatch.setattr(MockTools, "use_tool", use_tool)
    outcomes = [
        simulator(FAILS_ONCE, agent_model="offline/faultless-clerk", replay_tolerance=tolerance).run(
            Trial(TASK, 0, 1), diagnose=False
        )
        for tolerance in (False, True)
    ]
    assert [one.status for one in outcomes] == [Status.ENVIRONMENT_ERROR, Status.PASSED]
    assert any(note.startswith(REPLAYED_OTHERWISE) and "'" in note for note in outcomes[1].notes)


def test_tolerance_is_part_of_what_a_score_depends_on() -> None:
    facts = {"splits": {"train": [], "test": []}, "layers": {}, "flavour": "", "version": "", "data_checksum": ""}
    assert len({Measure(Experiment(replay_tolerance=one), facts).id for one in (False, True)}) == 2


@given(st.text(max_size=300), st.text(max_size=300))
def test_a_difference_is_one_short_line(then: str, now: str) -> None:
    line = _difference(then, now)
    assert len(line.splitlines()) == 1 and " became " in line
