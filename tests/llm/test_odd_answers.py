"""Whose fault it is if a model only reasons, and ids of tool calls that come twice: whole simulations."""

import json
from pathlib import Path
from typing import Any

import pytest
from llm_server import Fault
from mood import Mood, Solve, completion
from mood_shapes import SHAPES
from moods import MOODS
from provider import Provider
from simulations import MODEL, Json, MakeSimulator, edited, run

from autoharness.core.outcomes import Outcome, Status
from autoharness.llm.call_journal import Answers
from autoharness.report.conversations import _shown

REASON = "for reasoning"
PUZZLE = "from autoharness.agent_api import AssistantMessage\n"
SAYS_A_PUZZLE_FIRST = f"""{PUZZLE}self.turns = getattr(self, "turns", 0) + 1
if self.turns == 1:
    answer = AssistantMessage("PUZZLE: how are you?")
    state.messages += [message, answer]
    return answer, state
return turn(self, message, state)"""


def only_reasons(role: str, word: str, status: str = "") -> Mood:
    """A model that reasons until its tokens are used up if the word is anywhere in the request."""

    def reply(request: Json, solve: Solve) -> Json | Fault:
        if word in json.dumps(request):
            return completion(request, {"content": None}, "length")
        return solve(request)

    return Mood("", reply, status, role=role)


@pytest.mark.parametrize(
    ("agent", "word"),
    [
        (edited("self.domain_policy += ' PUZZLE'\nreturn turn(self, message, state)"), "PUZZLE"),
        (edited(SAYS_A_PUZZLE_FIRST), "PUZZLE"),
        (edited("self.llm_args['max_tokens'] = 5\nreturn turn(self, message, state)"), '"max_tokens": 5'),
        (edited("self.llm_args['max_tokens'] = 999\nreturn turn(self, message, state)"), '"max_tokens": 999'),
    ],
    ids=["in-its-prompt", "said-earlier", "a-lower-limit", "a-higher-limit"],
)
def test_an_agent_that_makes_its_model_only_reason_fails(
    provider: Provider, simulator: MakeSimulator, agent: str, word: str
) -> None:
    """Otherwise it could void the tasks that it fails."""
    provider.mood = only_reasons("agent", word)
    outcome = run(simulator(agent, agent_model=MODEL, agent_llm_args={"max_tokens": 500}))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert REASON in "\n".join([outcome.detail, *outcome.notes])
    assert provider.asked <= 9


def test_an_agent_that_makes_the_user_simulator_only_reason_fails(
    provider: Provider, simulator: MakeSimulator
) -> None:
    provider.mood = only_reasons("user", "PUZZLE")
    outcome = run(simulator(edited(SAYS_A_PUZZLE_FIRST), agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert REASON in outcome.detail


@pytest.mark.parametrize("role", ["agent", "user"])
def test_reasoning_alone_that_comes_once_costs_nobody_the_task(
    provider: Provider, simulator: MakeSimulator, role: str
) -> None:
    provider.fault, provider.role, provider.times = completion({}, {"content": None}, "length"), role, 1
    outcome = run(simulator(agent_model=MODEL))
    assert outcome.status == Status.PASSED, outcome.detail


@pytest.mark.parametrize("mood", ["the same id every turn", "null ids", "one id for two calls"])
def test_every_call_has_an_id_of_its_own_in_a_resume_and_from_the_cache(
    provider: Provider, simulator: MakeSimulator, tmp_path: Path, mood: str
) -> None:
    provider.mood = MOODS[mood]
    two_tasks = [_ids(run(simulator(agent_model=MODEL), "update_task_1")) for _ in range(2)]
    assert two_tasks[0] == two_tasks[1] and len(set(two_tasks[0])) == len(two_tasks[0]) > 0
    found = []
    for _ in range(2):
        one = simulator(agent_model=MODEL, llm_cache="all")
        one._answers = Answers(tmp_path / "answers")
        found.append(run(one, "update_task_1"))
    assert _ids(found[0]) == _ids(found[1]) == two_tasks[0]
    assert found[1].usage["agent"].calls == 0 < found[1].usage["agent"].cached_calls


def test_a_further_try_keeps_the_ids_and_the_notes(
    provider: Provider, simulator: MakeSimulator, tmp_path: Path
) -> None:
    unfinished = tmp_path / "unfinished" / "x.jsonl"
    provider.mood = SHAPES["leaked reasoning, user"]
    provider.fault, provider.after, provider.times = Fault(500), 1, 9
    first = run(simulator(agent_model=MODEL), unfinished=unfinished)
    provider.fault = None
    second = run(simulator(agent_model=MODEL), unfinished=unfinished)
    assert (first.status, second.status) == (Status.PROVIDER_ERROR, Status.PASSED)
    assert any("writes its reasoning" in note for note in second.notes)


def test_answers_of_an_older_version_stay_what_they_are(
    provider: Provider, simulator: MakeSimulator, tmp_path: Path
) -> None:
    """A try that began before continues with what was heard then, leaked reasoning included."""
    unfinished = tmp_path / "unfinished" / "x.jsonl"
    provider.fault, provider.times = Fault(500), 9
    assert run(simulator(agent_model=MODEL), unfinished=unfinished).reward is None
    text = unfinished.read_text()
    assert text.count("Hello, please help me.") == 1
    unfinished.write_text(text.replace("Hello, please help me.", "<think>Hm.</think>Hello, please help me."))
    provider.fault = None
    outcome = run(simulator(agent_model=MODEL), unfinished=unfinished)
    assert outcome.status == Status.PASSED
    assert outcome.messages[1]["content"].startswith("<think>Hm.</think>Hello")


def test_the_agent_sees_one_shape(provider: Provider, simulator: MakeSimulator) -> None:
    code = """from autoharness.agent_api import AssistantMessage
answer, state = turn(self, message, state)
choice, fields = answer.raw_data, {"index", "message", "finish_reason"}
calls = choice["message"].get("tool_calls", [])
assert set(choice) == fields and isinstance(choice["finish_reason"], str), choice
assert {"role", "content"} <= set(choice["message"]) <= {"role", "content", "tool_calls"}, choice
assert all(set(call) == {"id", "type", "function"} for call in calls), calls
assert all(set(call["function"]) == {"name", "arguments"} for call in calls), calls
return answer, state"""

    def reply(request: Json, solve: Solve) -> Fault:
        return completion(request, solve(request) | {"reasoning_content": "Hm.", "odd": {"a": 1}}, mood=5)

    provider.mood = Mood("", reply, "")
    outcome = run(simulator(edited(code), agent_model=MODEL))
    assert outcome.status == Status.PASSED, outcome.detail


def test_the_viewer_shows_each_call_its_own_result() -> None:
    """Conversations of earlier versions have ids that come twice, even of agent and user simulator."""
    messages: list[Json] = []
    for role, error in [("assistant", True), ("user", False), ("assistant", False)]:
        calls = [{"id": "call_0", "name": "look", "arguments": {"at": n}} for n in range(2)]
        messages.append({"role": role, "content": None, "tool_calls": calls})
        for n in range(2):
            content = f"result {len(messages)}"
            messages.append({"role": "tool", "id": "call_0", "content": content, "error": error and not n})
    shown = _shown(_outcome(messages), "a", "")
    found = [(call["result"], call["failed"]) for one in shown["turns"] for call in one["calls"]]
    assert found == [(f"result {n}", n == 1) for n in (1, 2, 4, 5, 7, 8)]


def _outcome(messages: list[Json]) -> Outcome:
    from autoharness.core.outcomes import Trial

    return Outcome(Trial("1", 0, 0), Status.FAILED, 0.0, messages=messages)


def _ids(outcome: Any) -> list[str]:
    assert outcome.status == Status.PASSED, outcome.detail
    return [call["id"] for message in outcome.messages for call in message.get("tool_calls") or []]
