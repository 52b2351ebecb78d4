"""Progress says how far a run is, sparsely, and never how a held-out task went."""

import io
import re
from collections import Counter
from collections.abc import Collection, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoharness.core.outcomes import Outcome, Status, Trial, Usage
from autoharness.engine.progress import Progress

HEADLINE = "mock, agent clerk"


class Terminal(io.StringIO):
    """A stream that a bar can be drawn on."""

    def isatty(self) -> bool:
        return True


def _outcome(task_id: str, reward: float | None, cost_usd: float = 0.0, uncosted_calls: int = 0) -> Outcome:
    status = Status.PROVIDER_ERROR if reward is None else Status.PASSED if reward == 1 else Status.FAILED
    usage = {"agent": Usage(cost_usd=cost_usd), "user": Usage(cost_usd=cost_usd, uncosted_calls=uncosted_calls)}
    return Outcome(Trial(task_id, 0, 1), status, reward, usage=usage)


OUTCOMES = st.lists(st.builds(_outcome, st.sampled_from("abcd"), st.sampled_from([0.0, 0.5, 1.0, None])))


def _run(
    outcomes: list[Outcome], known: Sequence[Outcome] = (), held_out: Collection[str] = ()
) -> tuple[Progress, list[str]]:
    stream = io.StringIO()
    progress = Progress(stream)
    progress.begin(HEADLINE, len(outcomes) + len(known), known, held_out)
    for outcome in outcomes:
        progress.add(outcome)
    progress.end()
    return progress, stream.getvalue().splitlines()


def test_200_outcomes_are_told_in_a_handful_of_lines_and_the_last_one_says_it_all() -> None:
    _, lines = _run([_outcome(str(number), float(number % 4 == 0), 0.001) for number in range(200)])
    assert lines[0] == "[benchmark] 200 simulations: mock, agent clerk"
    assert 5 <= len(lines) <= 15
    assert lines[-1].startswith("[benchmark] 200/200  passed 50, failed 150, $0.4000 (agent $0.2000, user $0.2000), ")
    assert all(line.endswith(" s left") for line in lines[1:])


def test_a_run_that_may_end_early_says_so_beside_each_figure() -> None:
    progress = Progress(stream := io.StringIO())
    progress.begin(HEADLINE, 20, [], "a", at_most=True)
    for _ in range(2):
        progress.add(_outcome("a", 1.0))
    said = stream.getvalue().splitlines()[-1]
    assert "2 of at most 20  held out 2" in said and re.search(r", at most \d+ s left$", said)


@given(OUTCOMES, OUTCOMES, st.sets(st.sampled_from("abcd")))
def test_counts_what_passed_failed_erred_and_is_held_out(
    known: list[Outcome], fresh: list[Outcome], held_out: set[str]
) -> None:
    def kind(outcome: Outcome) -> str:
        if outcome.reward is None:
            return "errors"
        return "held out" if outcome.trial.task_id in held_out else str(outcome.status)

    progress, _ = _run(fresh, known, held_out)
    told = {name: int(count) for name, count in re.findall(r"([a-z][a-z ]*) (\d+),", progress.facts)}
    assert told == Counter(map(kind, [*known, *fresh]))


def test_a_run_over_held_out_tasks_alone_shows_nothing_as_passed_or_failed() -> None:
    rewards = [1.0, 0.0, None] * 10
    _, lines = _run(
        [_outcome(str(n), reward) for n, reward in enumerate(rewards)], held_out=[str(n) for n in range(30)]
    )
    assert lines[-1].startswith("[benchmark] 30/30  held out 20, errors 10, ")
    assert not re.search("passed|failed", "\n".join(lines))


def test_what_the_store_has_is_mentioned_counts_and_costs_nothing() -> None:
    progress, lines = _run([_outcome("a", 1.0, 0.25)], known=[_outcome("b", 1.0, 9.0), _outcome("c", 0.0, 9.0)])
    assert lines[1] == "[benchmark] 2 of 3 simulations are in the store already"
    assert progress.facts == "passed 2, failed 1, $0.5000 (agent $0.2500, user $0.2500)"


def test_calls_of_unknown_price_are_told_beside_the_cost() -> None:
    progress, _ = _run([_outcome("a", 1.0, 0.25, 2), _outcome("b", 1.0, 0.0, 1)])
    roles = "(agent $0.2500, user $0.2500 + 3 calls of unknown price)"
    assert progress.facts == f"passed 2, $0.5000 + 3 calls of unknown price {roles}"


def test_whom_a_held_out_task_asked_is_not_told() -> None:
    """A judge that was not asked would tell that the agent broke off."""
    progress, _ = _run([_outcome("a", 1.0, 0.25), _outcome("b", 1.0, 1.0)], held_out=["b"])
    assert progress.facts == "passed 1, held out 1, $2.5000 (agent $0.2500, user $0.2500, held out $2.0000)"


def test_of_a_part_of_the_held_out_tasks_not_even_the_cost_is_told() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    progress.begin("x", 2, [], ["b"], partly=True)
    for outcome in (_outcome("a", 1.0, 0.25), _outcome("b", 1.0, 1.0)):
        progress.add(outcome)
    assert progress.facts == "passed 1, held out 1, $0.5000 (agent $0.2500, user $0.2500)"


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    progress = Progress(stream)
    progress.begin(HEADLINE, 3, [_outcome("a", 1.0)], {"c"})
    for outcome in (_outcome("b", 0.0), _outcome("c", 1.0)):
        progress.add(outcome)
    progress.end()
    assert "3/3" in stream.getvalue()
    assert " passed 1, failed 1, held out 1, $0.0000 " in stream.getvalue()
