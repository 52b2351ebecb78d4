"""Pairs of rewards in the tasks that both sides have, and what is said of them."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoharness.core.stats import difference_interval, mean_interval
from autoharness.gate.comparison import Comparison, Score, left_out, sides_of
from autoharness.vault.ledger_rows import Confirmation, Look, Side

REWARDS = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([0.0, 0.5, 1.0, None]))


@given(REWARDS, REWARDS)
def test_only_tasks_that_both_have_count(one: dict[str, float | None], other: dict[str, float | None]) -> None:
    both = [name for name in one if one[name] is not None and other.get(name) is not None]
    found = Comparison.of(one, other)
    if not both:
        assert found is None
        return
    assert found is not None and found.tasks == len(both)
    assert found.better + found.worse <= found.tasks
    assert list(found.before) == [one[name] for name in both] and list(found.after) == [other[name] for name in both]
    assert found.difference == sum(found.differences) / found.tasks
    assert found.interval == difference_interval(found.differences)
    assert -1 <= found.interval[0] <= found.interval[1] <= 1
    assert 0 <= found.p_value <= 1


def test_it_says_points() -> None:
    found = Comparison([0.0, 0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0, 1.0])
    assert found.points == "+40.0 points, 95 % interval -30.4 to +87.5"
    assert (found.better, found.worse, found.passed_by_both) == (3, 1, 1)


def test_a_score_has_its_interval() -> None:
    assert Score.of([1.0, 0.0, 0.5]) == Score(0.5, *mean_interval([1.0, 0.0, 0.5]), passed=1, tasks=3)


def looks_of(side: Side, task_id: str, *rewards: float | None) -> list[Look]:
    """None stands for a trial that tau2 itself could not evaluate."""
    return [Look(side, task_id, n, reward, void=reward is None) for n, reward in enumerate(rewards)]


def test_a_void_trial_counts_0_if_its_task_was_evaluated_at_all() -> None:
    """Otherwise an agent could void what it is about to fail, and leave its headline without those tasks."""
    looks = [
        *looks_of(Side.INCUMBENT, "a", 1.0, 1.0),
        *looks_of(Side.CANDIDATE, "a", 1.0, None),
        *looks_of(Side.INCUMBENT, "b", 0.0, 0.0),
        *looks_of(Side.CANDIDATE, "b", None, None),
        *looks_of(Side.INCUMBENT, "c", None, None),
        *looks_of(Side.CANDIDATE, "c", 1.0, 1.0),
        *looks_of(Side.INCUMBENT, "d", None, None),
        *looks_of(Side.CANDIDATE, "d", None, None),
    ]
    tasks = [*"abcd", *map(str, range(6))]
    others = [look for one in tasks[4:] for side in Side for look in looks_of(side, one, 1.0, 1.0)]
    row = Confirmation("m", "best", looks=[*looks, *others], tasks=tasks, rules=1)
    before, after = sides_of(row)
    assert {name: before[name] for name in "abc"} == {"a": [1.0, 1.0], "b": [0.0, 0.0], "c": [0.0, 0.0]}
    assert {name: after[name] for name in "abc"} == {"a": [1.0, 0.0], "b": [0.0, 0.0], "c": [1.0, 1.0]}
    assert left_out(row) == ["d"] and "d" not in before.keys() | after.keys()
    found = Comparison.confirmed_by(row)
    assert found and found.tasks == 9


def test_past_a_tenth_of_the_tasks_left_out_there_is_no_headline() -> None:
    tasks = [str(n) for n in range(19)]
    looks = [look for one in tasks[2:] for side in Side for look in looks_of(side, one, 1.0)]
    void = [look for one in tasks[:2] for side in Side for look in looks_of(side, one, None)]
    row = Confirmation("m", "best", looks=[*looks, *void], tasks=tasks, rules=1)
    assert len(left_out(row)) == 2 and Comparison.confirmed_by(row) is None
    twentieth = [look for side in Side for look in looks_of(side, "19", 1.0)]
    assert Comparison.confirmed_by(replace(row, tasks=[*tasks, "19"], looks=[*row.looks, *twentieth]))


def test_a_confirmation_of_an_earlier_version_is_without_void_tasks() -> None:
    looks = [
        *(Look(Side.INCUMBENT, "a", number, reward) for number, reward in enumerate([0.0, 1.0])),
        *(Look(Side.CANDIDATE, "a", number, reward) for number, reward in enumerate([1.0, 1.0])),
        Look(Side.INCUMBENT, "b", 0, 1.0),
        Look(Side.CANDIDATE, "b", 0, None, void=True),
    ]
    row = Confirmation("m", "best", looks=looks, baseline="first", split="test")
    assert sides_of(row) == ({"a": [0.0, 1.0]}, {"a": [1.0, 1.0]})
    assert Comparison.confirmed_by(row) == Comparison([0.5], [1.0])
    assert Comparison.confirmed_by(Confirmation("m", "best", looks=looks[2:])) is None


def test_where_the_tasks_of_a_trial_share_their_luck_the_interval_is_by_trial() -> None:
    """Twelve tasks whose trials pass together are three draws, not thirty-six."""
    tasks = [str(number) for number in range(12)]
    together = [0.0, 1.0, 1.0]
    looks = [one for task in tasks for one in looks_of(Side.CANDIDATE, task, *together)]
    looks += [one for task in tasks for one in looks_of(Side.INCUMBENT, task, 0.0, 0.0, 0.0)]
    found = Comparison.confirmed_by(Confirmation("m", "best", looks=looks, tasks=tasks, rules=1))
    assert found and found.difference == pytest.approx(2 / 3)
    assert found.interval[0] < 0 < difference_interval(found.differences)[0]
    apart = [
        one
        for n, task in enumerate(tasks)
        for one in looks_of(Side.CANDIDATE, task, *together[n % 3 :], *together[: n % 3])
    ]
    others = [look for look in looks if look.side == Side.INCUMBENT]
    row = Confirmation("m", "best", looks=[*apart, *others], tasks=tasks, rules=1)
    hot: dict[str, Any] = {"agent_llm_args": {"temperature": 0.7}}
    for experiment, is_wider in (
        ({"seeds": "per_task", **hot}, False),
        ({"seeds": "tau2"}, False),
        ({"seeds": "tau2", **hot, "of_a_later_version": 1}, True),
        ({"seeds": "tau2", **hot, "agent_model": "offline/clerk"}, False),
    ):
        found = Comparison.confirmed_by(replace(row, experiment=experiment))
        assert found and bool(found.by_trial) == is_wider
