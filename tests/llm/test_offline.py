"""The offline model plays real tau2 tasks: without mistakes to the end, with them as its draws say.

A sample here; every task with AUTOHARNESS_FULL_TESTS=1, and means over ten seeds in perf/offline_model.py.
"""

import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import TEMPLATE
from harnesses import BAD, GOOD_CODE, REFERENCE
from offline_rates import drawn_to_pass, fatal_mistakes

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.core.errors import AgentError
from autoharness.core.outcomes import Outcome, Status, Trial
from autoharness.core.tasks import Script, Step
from autoharness.engine.agent_connection import _for_the_agent
from autoharness.engine.simulator import Simulator
from autoharness.llm import offline, offline_mistakes
from autoharness.llm.call_journal import Journal
from autoharness.llm.calls import AGENT, JUDGE, USER, Limits
from autoharness.llm.gateway import Session
from autoharness.llm.offline_mistakes import Mistake
from autoharness.llm.providers import ProviderFault

FULL = bool(os.environ.get("AUTOHARNESS_FULL_TESTS"))
TASKS = [("airline", 6), ("retail", 8), ("telecom", 20), ("mock", 9)]
"""How many tasks of each domain the sample has."""

Simulate = Callable[..., Outcome]


@pytest.fixture
def simulate(simulator: Callable[..., Simulator]) -> Simulate:
    made: dict[Any, Simulator] = {}

    def run(domain: str, task: str, seed: int, source: str = TEMPLATE, model: str = "offline/clerk") -> Outcome:
        key = (domain, source, model)
        if key not in made:
            made[key] = simulator(source, domain=domain, agent_model=model)
        return made[key].run(Trial(task, 0, seed), diagnose=False)

    return run


def _tasks(tau2: Tau2, domain: str, count: int) -> list[str]:
    tasks = tau2.facts(domain).splits["base"]
    return tasks if FULL else random.Random(1).sample(tasks, min(count, len(tasks)))


@pytest.mark.slow
@pytest.mark.parametrize(("domain", "count"), TASKS)
def test_without_mistakes_every_task_scores_1(tau2: Tau2, simulate: Simulate, domain: str, count: int) -> None:
    outcomes = [simulate(domain, t, 1, model="offline/faultless-clerk") for t in _tasks(tau2, domain, count)]
    assert not [outcome for outcome in outcomes if outcome.status != Status.PASSED]


@pytest.mark.slow
@pytest.mark.parametrize(("domain", "count"), TASKS)
def test_a_simulation_ends_as_its_draws_say(tau2: Tau2, simulate: Simulate, domain: str, count: int) -> None:
    tasks = _tasks(tau2, domain, count)
    drawn = {task: drawn_to_pass(tau2.script(domain, task), 7) for task in tasks}
    ended = {task: simulate(domain, task, 7).reward == 1 for task in tasks}
    assert ended == drawn
    if domain != "mock":
        assert set(drawn.values()) == {True, False}


def _failing_by(tau2: Tau2, mistake: Mistake) -> tuple[str, str, int]:
    """A task and a seed whose one drawn mistake is this one."""
    domains = {"yields": ["airline"], "withholds_figures": ["retail"]}.get(mistake.name, ["telecom", "retail"])
    for domain in domains:
        for task in tau2.facts(domain).splits["base"]:
            script = tau2.script(domain, task)
            for seed in range(5):
                plain = offline_mistakes.Prompt((), True)
                drawn = [
                    one for one in fatal_mistakes(script) if offline_mistakes.happens(one, script.key, seed, plain)
                ]
                if drawn == [mistake]:
                    return domain, task, seed
    raise AssertionError(f"no task fails by {mistake.name} alone")


@pytest.mark.slow
@pytest.mark.parametrize("mistake", offline_mistakes.CATALOGUE[:: 1 if FULL else 3], ids=lambda mistake: mistake.name)
def test_each_mistake_fails_its_task_and_a_good_harness_prevents_it(
    tau2: Tau2, simulate: Simulate, mistake: Mistake
) -> None:
    domain, task, seed = _failing_by(tau2, mistake)
    assert simulate(domain, task, seed).reward == 0
    preventable = mistake != offline_mistakes.SLIP
    assert (simulate(domain, task, seed, REFERENCE).reward == 1) == preventable
    by_code = preventable and not mistake.depends_on_prompt
    assert (simulate(domain, task, seed, GOOD_CODE).reward == 1) == by_code


@pytest.mark.slow
def test_bad_edits_cost_points(tau2: Tau2, simulate: Simulate) -> None:
    """On a sample; how many they cost on the whole test splits is measured in the benchmark."""
    tasks = _tasks(tau2, "telecom", 8)

    def passed(source: str) -> int:
        return sum(simulate("telecom", task, 3, source).reward == 1 for task in tasks)

    template = passed(TEMPLATE)
    assert passed(REFERENCE) > template
    assert {name: passed(source) < template for name, source in BAD.items()} == dict.fromkeys(BAD, True)


SCRIPT = Script(
    "retail",
    "1",
    "the policy",
    "I want a refund.",
    (Step("assistant", "refund", {"order_id": "#W1"}, True),),
    ("12.50",),
)


def _session(seed: int = 0, script: Script = SCRIPT, file: Path | None = None) -> Session:
    journal = Journal(file)
    models = {
        AGENT: offline.model(AGENT, "offline/clerk", script, seed, journal),
        USER: offline.model(USER, "offline/customer", script, seed, journal),
        JUDGE: offline.model(JUDGE, "offline/judge", script, seed, journal),
    }
    return Session(models, "offline/clerk", None, Limits(100, None, 0), journal=journal)


def _with_call(arguments: str) -> list[Any]:
    return [
        {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "x", "arguments": arguments}}]},
        {"role": "tool", "tool_call_id": "1", "content": "?"},
        {"role": "user", "content": "hi"},
    ]


@pytest.mark.parametrize(
    "messages",
    [
        _with_call("{"),
        _with_call('{"x":' * 50_000 + "0" + "}" * 50_000),
        [{"role": "tool", "content": "no id"}, {"role": "user", "content": "hi"}],
    ],
    ids=["broken-arguments", "deep-arguments", "no-call-id"],
)
def test_a_request_that_makes_no_sense_is_the_agents_failure(messages: list[Any]) -> None:
    pristine = {"messages": [{"role": "user", "content": "hello"}]}
    with pytest.raises(AgentError, match="cannot read the request"):
        _session().complete_for_agent({"messages": messages}, lambda: pristine)


def test_a_step_whose_number_is_a_book_is_none_to_the_customer_and_to_the_clerk() -> None:
    """Otherwise an agent could void its trials: Python reads no number of 5000 digits."""
    request = {"messages": [{"role": "user", "content": f"[step {'9' * 5000}]"}]}
    for role in (USER, AGENT):
        answer = _session().complete(role, request)
        assert answer["choices"][0]["message"]["role"] == "assistant"


def test_a_mistake_that_was_made_before_a_kill_is_not_made_again(tmp_path: Path) -> None:
    """And the agent, which sees an empty reply, is not told that it is a mistake."""
    plain = offline_mistakes.Prompt((), has_policy=False)
    seed = next(s for s in range(999) if offline_mistakes.happens(offline_mistakes.EMPTY, SCRIPT.key, s, plain))
    request = {"messages": [{"role": "user", "content": "hi"}]}

    def said(session: Session) -> str:
        answer = _for_the_agent(session.complete_for_agent(request, lambda: request))
        assert "empty_reply" not in json.dumps(answer)
        return str(answer["choices"][0]["message"]["content"])

    killed = _session(seed, file=tmp_path / "x.jsonl")
    assert said(killed) == ""
    killed.journal.close()
    resumed = _session(seed, file=tmp_path / "x.jsonl")
    assert said(resumed) == "" != said(resumed)


def _ask_judge(expected: list[str], conversation: str) -> list[bool]:
    prompt = f"conversation:\n{conversation}\n\nexpectedOutcomes:\n{expected}"
    answer = _session().complete(JUDGE, {"messages": [{"role": "user", "content": prompt}]})
    results = json.loads(answer["choices"][0]["message"]["content"])["results"]
    assert [one["expectedOutcome"] for one in results] == expected
    return [one["metExpectation"] for one in results]


def test_the_judge_looks_for_what_had_to_be_said() -> None:
    conversation = "assistant: For your records: the refund is $12.50; Agent's note, sent."
    assert _ask_judge(["The refund is $12.50", "agent's note sent", "a voucher"], conversation) == [True, True, False]


def test_the_judge_does_not_take_a_question_that_is_not_tau2s() -> None:
    with pytest.raises(ProviderFault, match="not how tau2 asks"):
        offline.model(JUDGE, "offline/judge", SCRIPT, 0, Journal())(
            {"messages": [{"role": "user", "content": "well?"}]}
        )


def test_a_customer_who_gets_nowhere_hangs_up() -> None:
    messages: list[dict[str, Any]] = []
    for _ in range(60):
        messages.append({"role": "user", "content": "Please wait."})
        answer = _session().complete(USER, {"messages": messages})["choices"][0]["message"]
        if "###STOP###" in answer["content"]:
            return
        messages.append(answer)
    raise AssertionError("still waiting")


def test_a_model_that_does_something_else_has_another_name_in_the_keys_of_trials() -> None:
    """If what it does has changed: another BEHAVIOUR, and this digest. If only its text has: this digest alone."""
    lines = [
        line for module in (offline, offline_mistakes) for line in Path(str(module.__file__)).read_text().splitlines()
    ]
    said = [line for line in lines if not line.startswith(("from ", "import ", "BEHAVIOUR"))]
    assert hashlib.sha256("\n".join(said).encode()).hexdigest()[:16] == "638d008c6ebb5e32"
