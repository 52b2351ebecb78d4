"""llm_cache: agent files that ask the same are answered alike; nothing else changes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import TEMPLATE
from llm_server import LLMServer

from autoharness.core.errors import ProviderError
from autoharness.core.outcomes import Status, Trial
from autoharness.core.settings import Experiment
from autoharness.engine.score_identity import Measure
from autoharness.engine.simulator import Simulator
from autoharness.llm.call_journal import Answers
from autoharness.llm.calls import AGENT, JUDGE, USER, Limits
from autoharness.llm.gateway import Session
from autoharness.llm.providers import ProviderFault

MODEL = "openai/x"
OTHER_AFTER_A_TURN = TEMPLATE.replace(
    "answer = generate(", "self.turns = getattr(self, 'turns', 0) + 1\n        answer = generate("
)

MakeSimulator = Callable[..., Simulator]


@pytest.fixture
def run(
    simulator: MakeSimulator,
    solver_server: tuple[LLMServer, set[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Any:
    """Runs a trial with the answers in one folder; the outcome and how often the provider was asked."""
    server, _ = solver_server
    monkeypatch.setenv("OPENAI_API_BASE", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")

    def run(trial: Trial, source: str = TEMPLATE, train: bool = True, **settings: Any) -> tuple[Any, int]:
        one = simulator(source, agent_model=MODEL, **{"llm_cache": "train"} | settings)
        one._answers = Answers(tmp_path / "answers")
        before = len(server.requests)
        return one.run(trial, diagnose=train), len(server.requests) - before

    return run


TRIAL = Trial("update_task_1", 0, 1)


def test_an_agent_file_that_asks_the_same_pays_for_nothing(run: Any) -> None:
    first, asked = run(TRIAL)
    again, asked_again = run(TRIAL, OTHER_AFTER_A_TURN)
    assert (first.status, again.status) == (Status.PASSED, Status.PASSED)
    assert asked == sum(usage.calls for usage in first.usage.values()) > 0 == asked_again
    for role in (AGENT, USER):
        assert again.usage[role].cached_calls == first.usage[role].calls
        assert again.usage[role].calls == again.usage[role].tokens == again.usage[role].cost_usd == 0
    assert [message["content"] for message in again.messages] == [message["content"] for message in first.messages]


def test_an_agent_file_that_asks_otherwise_asks_the_provider(run: Any) -> None:
    """Its user says the first thing again, and from then on another conversation."""
    run(TRIAL)
    outcome, asked = run(TRIAL, TEMPLATE.replace("helpful assistant", "careful assistant"))
    assert TEMPLATE.count("helpful assistant") == 1 and asked >= outcome.usage[AGENT].calls > 0
    assert outcome.usage[AGENT].cached_calls == 0 < outcome.usage[USER].cached_calls


@pytest.mark.parametrize(
    "other", [Trial("update_task_1", 1, 1), Trial("update_task_1", 0, 2)], ids=["number", "seed"]
)
def test_another_trial_of_a_task_is_another_draw(run: Any, other: Trial) -> None:
    _, asked = run(TRIAL)
    assert run(other)[1] == asked


def test_held_out_trials_have_none_unless_all_have(run: Any) -> None:
    _, asked = run(TRIAL, train=False)
    assert run(TRIAL, train=False)[1] == asked
    run(TRIAL, train=False, llm_cache="all")
    assert run(TRIAL, train=False, llm_cache="all")[1] == 0


def test_the_budget_of_a_simulation_counts_what_was_paid_for_before(run: Any) -> None:
    """Otherwise a candidate could go on where the incumbent was cut off."""
    full, _ = run(TRIAL)
    assert full.usage[AGENT].calls > 1
    for _ in range(2):
        cut, asked = run(TRIAL, max_simulation_tokens=1)
        assert asked == 0
        assert cut.status == Status.AGENT_ERROR and "budget of the simulation spent" in cut.detail


def test_scores_with_and_without_it_do_not_compare(tau2: Any) -> None:
    from dataclasses import asdict

    facts = asdict(tau2.facts("mock")) | {"layers": {}, "data_checksum": tau2.facts("mock").data_checksum}
    measures = {Measure(Experiment(domain="mock", llm_cache=kind), facts).id for kind in ("off", "train", "all")}
    assert len(measures) == 3


def test_what_a_judge_said_is_not_kept(tmp_path: Path) -> None:
    """It may prove to be unreadable, and would be found again and again."""
    asked: list[str] = []

    def model(request: Any) -> Any:
        asked.append("once")
        return {"choices": [{"message": {"role": "assistant", "content": "sorry"}}]}

    for _ in range(2):
        one = Session({JUDGE: model}, "m", None, Limits(10, None, 0), Answers(tmp_path), "trial")
        one.complete(JUDGE, {"messages": [{"role": "user", "content": "Well?"}]})
    assert len(asked) == 2


def test_an_outage_is_an_outage_whatever_was_answered_before(tmp_path: Path) -> None:
    """Whether the provider takes the untouched template's request is asked of the provider."""
    pristine = {"messages": [{"role": "user", "content": "Hello"}]}
    answers = Answers(tmp_path)
    works: Any = lambda request: {"choices": [{"message": {"role": "assistant", "content": "Yes."}}]}  # noqa: E731
    Session({AGENT: works}, "m", None, Limits(10, None, 0), answers, "trial").complete_for_agent(
        pristine, lambda: dict(pristine)
    )

    def refuses(request: Any) -> Any:
        raise ProviderFault("model not found", 404)

    candidate = Session({AGENT: refuses}, "m", None, Limits(10, None, 0), answers, "trial")
    with pytest.raises(ProviderError):
        candidate.complete_for_agent({**pristine, "temperature": 0.5}, lambda: dict(pristine))


def test_a_full_disk_costs_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers(tmp_path)

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError("database or disk is full")

    monkeypatch.setattr(answers._cache, "add", full)
    monkeypatch.setattr(answers._cache, "get", full)
    answers.keep("key", {})
    assert answers.find("key") is None


def test_nobody_else_may_read_the_folder(tmp_path: Path) -> None:
    """Held-out conversations are in it."""
    Answers(tmp_path / "new" / "answers")
    assert (tmp_path / "new" / "answers").stat().st_mode & 0o777 == 0o700


def test_the_first_answer_stays(tmp_path: Path) -> None:
    answers = Answers(tmp_path)
    answers.keep("key", {"choices": ["☃"]})
    answers.keep("key", {"choices": []})
    assert Answers(tmp_path).find("key") == {"choices": ["☃"]} and answers.find("other") is None
    json.dumps(answers.find("key"))
