"""Outcomes on disk and back, means, identities of keys and folders."""

import json
import re
from statistics import mean
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autoharness.core.outcomes import (
    EVALUATED,
    Outcome,
    Status,
    Trial,
    Usage,
    digest,
    natural_order,
    passed,
    rewards_by_task,
    settled_rewards,
    slug,
)

COUNTS = st.integers(0, 10**9)
AMOUNTS = st.floats(0, 1e6)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=3)
USAGES = st.builds(Usage, COUNTS, COUNTS, COUNTS, AMOUNTS, COUNTS, AMOUNTS)
OUTCOMES = st.builds(
    Outcome,
    trial=st.builds(Trial, st.text(), COUNTS, COUNTS),
    status=st.sampled_from(Status),
    reward=st.none() | st.floats(0, 1),
    detail=st.text(),
    termination=st.text(),
    reward_info=OBJECTS,
    messages=st.lists(OBJECTS, max_size=2),
    database_diff=st.lists(OBJECTS, max_size=2),
    usage=st.dictionaries(st.sampled_from(["agent", "user", "judge"]), USAGES),
    duration_s=AMOUNTS,
    started=st.text(),
    notes=st.lists(st.text(), max_size=3),
)
TELECOM_IDS = st.text("abcdXYZ|[]: _-.3", max_size=300)
REWARDS = st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0])


def test_statuses_are_stored_under_these_names_and_the_first_four_carry_a_reward() -> None:
    evaluated = ["passed", "failed", "agent_error", "timed_out"]
    others = ["user_error", "environment_error", "judge_error", "provider_error", "setup_error"]
    assert [str(status) for status in Status] == evaluated + others
    assert set(evaluated) == EVALUATED


@pytest.mark.slow
@given(OUTCOMES)
def test_an_outcome_comes_back_from_its_json(outcome: Outcome) -> None:
    assert Outcome.from_json(json.loads(json.dumps(outcome.to_json()))) == outcome


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"trial": {"task_id": "0"}}, TypeError),
        ({"status": "lost"}, ValueError),
        ({"usage": {"agent": 1}}, TypeError),
    ],
    ids=["trial", "status", "usage"],
)
def test_json_that_is_no_outcome_is_refused(change: dict[str, Any], error: type[Exception]) -> None:
    data = Outcome(Trial("0", 0, 1), Status.PASSED, 1.0).to_json()
    with pytest.raises(error):
        Outcome.from_json(data | change)


def test_usage_adds_up_field_by_field() -> None:
    assert Usage(1, 2, 3, 0.5, 4, 0.25) + Usage(10, 20, 30, 1.5, 40, 2.25) == Usage(11, 22, 33, 2.0, 44, 2.5)


@given(USAGES)
def test_no_usage_adds_nothing(usage: Usage) -> None:
    assert usage + Usage() == Usage() + usage == usage


def test_the_cost_of_an_outcome_is_that_of_all_its_roles() -> None:
    usage = {"agent": Usage(cost_usd=0.5), "user": Usage(cost_usd=0.25)}
    assert Outcome(Trial("0", 0, 1), Status.PASSED, 1.0, usage=usage).cost_usd == 0.75


@given(st.lists(st.tuples(st.sampled_from("abc"), REWARDS)))
def test_a_tasks_reward_is_the_mean_over_its_evaluated_trials(trials: list[tuple[str, float | None]]) -> None:
    """And None only where there is none."""
    outcomes = [Outcome(Trial(task, 0, 1), Status.PASSED, reward) for task, reward in trials]
    evaluated = {task: [r for t, r in trials if t == task and r is not None] for task, _ in trials}
    expected = {task: mean(rewards) if rewards else None for task, rewards in evaluated.items()}
    assert rewards_by_task(outcomes) == expected


@pytest.mark.parametrize(
    ("reward", "expected"),
    [(1.0, True), (1 - 1e-6, True), (1 - 1.1e-6, False), (0.0, False), (None, False)],
    ids=["1", "within-tolerance", "below-tolerance", "0", "none"],
)
def test_passed_is_a_reward_of_1_within_a_millionth(reward: float | None, expected: bool) -> None:
    assert passed(reward) is expected


def _reordered(value: Any) -> Any:
    """The same JSON with the keys of every object the other way round."""
    if isinstance(value, dict):
        return {key: _reordered(value[key]) for key in reversed(value)}
    return [_reordered(one) for one in value] if isinstance(value, list) else value


@given(OBJECTS)
def test_a_digest_does_not_depend_on_the_order_of_keys(value: dict[str, Any]) -> None:
    assert digest(_reordered(value)) == digest(value)


@pytest.mark.parametrize(
    ("one", "other"),
    [({"a": 1}, {"a": "1"}), ({"a": [1, 2]}, {"a": [2, 1]}), ({"a": {}}, {"a": []}), ({"a": None}, {})],
    ids=["type", "order-of-a-list", "empty", "none"],
)
def test_different_json_has_different_digests(one: Any, other: Any) -> None:
    assert digest(one) != digest(other)


@given(TELECOM_IDS | st.text())
def test_a_slug_is_a_safe_folder_name(task_id: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}", slug(task_id))


@given(TELECOM_IDS, TELECOM_IDS)
def test_different_tasks_have_different_slugs_whatever_the_file_system_does_to_case(one: str, other: str) -> None:
    assume(one != other)
    assert slug(one).lower() != slug(other).lower()


def test_a_slug_starts_with_what_a_reader_knows() -> None:
    assert slug("[mobile_data_issue]data_mode_off|[PERSONA:None]").startswith(
        "mobile-data-issue-data-mode-off-PERSONA-"
    )


def test_numbers_come_in_their_order_and_before_names() -> None:
    assert sorted(["10", "b", "2", "a10", "1", "a"], key=natural_order) == ["1", "2", "10", "a", "a10", "b"]


def test_for_a_decision_a_task_with_a_lost_trial_has_no_reward() -> None:
    """Otherwise a trial that infrastructure lost could raise the mean of the others."""
    rewards = {("1", 0): 1.0, ("1", 1): None, ("2", 0): 1.0, ("2", 1): 0.0}
    outcomes = [
        Outcome(Trial(task, number, 0), Status.FAILED if reward is not None else Status.PROVIDER_ERROR, reward)
        for (task, number), reward in rewards.items()
    ]
    assert settled_rewards(outcomes) == {"1": None, "2": 0.5}
    assert rewards_by_task(outcomes) == {"1": 1.0, "2": 0.5}
