"""No run shows the single results of held-out tasks; only a run over all of them counts in the mean."""

from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoharness.core.held_out import shown

TASKS = st.sampled_from([str(number) for number in range(8)])
REWARDS = st.dictionaries(TASKS, st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0]))

Rewards = dict[str, float | None]


@given(REWARDS, st.sets(TASKS))
def test_no_held_out_task_is_among_the_single_results_and_every_other_one_is(
    rewards: Rewards, held_out: set[str]
) -> None:
    result = shown(rewards, [held_out], reveal=False)
    assert result.rewards == {task: reward for task, reward in rewards.items() if task not in held_out}


@given(REWARDS, st.sets(TASKS, min_size=1))
def test_a_part_of_the_held_out_tasks_does_not_enter_the_mean(rewards: Rewards, held_out: set[str]) -> None:
    missing = min(held_out)
    rewards.pop(missing, None)
    result = shown(rewards, [held_out], reveal=False)
    assert result.scored == result.rewards
    assert not set(result.scored) & held_out
    assert result.withheld == result.held_out == len(set(rewards) & held_out)


@given(REWARDS, st.data())
def test_all_of_the_held_out_tasks_enter_the_mean(rewards: Rewards, data: st.DataObject) -> None:
    held_out = data.draw(st.sets(st.sampled_from(sorted(rewards))) if rewards else st.just(set()))
    result = shown(rewards, [held_out], reveal=False)
    assert result.scored == rewards
    assert (result.held_out, result.withheld) == (len(held_out), 0)


@given(REWARDS, st.lists(st.sets(TASKS, min_size=1), max_size=3))
def test_splits_that_share_a_task_stand_or_fall_together(rewards: Rewards, splits: list[set[str]]) -> None:
    """Tasks that hang together by splits are all in the mean, or none is."""
    groups: list[set[str]] = []
    for split in splits:
        joined = split.union(*(group for group in groups if group & split))
        groups = [*(group for group in groups if not group & split), joined]
    scored = set(shown(rewards, splits, reveal=False).scored)
    assert all(group <= scored or not group & scored for group in groups)
    assert {task for group in groups if group <= set(rewards) for task in group} <= scored


def test_two_runs_do_not_tell_a_single_task_by_their_means() -> None:
    rewards: Rewards = {"a": 1.0, "b": 0.0, "c": 1.0}
    assert shown(rewards, [{"a", "b", "c"}, {"c", "x"}], reveal=False).scored == {}


@given(REWARDS, st.sets(TASKS))
def test_a_person_who_reveals_sees_everything(rewards: Rewards, held_out: set[str]) -> None:
    result = shown(rewards, [held_out], reveal=True)
    assert result.rewards == result.scored == rewards
    assert (result.held_out, result.withheld) == (len(set(rewards) & held_out), 0)


@given(REWARDS, st.sets(TASKS), st.booleans())
def test_the_score_is_the_mean_over_the_evaluated_tasks_that_count(
    rewards: Rewards, held_out: set[str], reveal: bool
) -> None:
    result = shown(rewards, [held_out], reveal)
    evaluated = [reward for reward in result.scored.values() if reward is not None]
    assert result.val_score == (fmean(evaluated) if evaluated else None)


@pytest.mark.parametrize(
    ("rewards", "score"),
    [
        ({"0": 1.0, "1": 0.0}, 0.5),
        ({"0": 1.0, "1": None}, 1.0),
        ({"0": 1.0}, None),
        ({"0": 1.0, "9": 0.25}, 0.25),
        ({"0": 1.0, "1": 0.0, "9": 0.5}, 0.5),
    ],
    ids=["whole", "whole-with-an-error", "part", "part-beside-train", "whole-beside-train"],
)
def test_score_of_a_run_where_0_and_1_are_held_out(rewards: Rewards, score: float | None) -> None:
    assert shown(rewards, [{"0", "1"}], reveal=False).val_score == score


def test_each_held_out_split_is_whole_or_not_by_itself() -> None:
    result = shown({"0": 1.0, "1": 0.0, "2": 0.5, "9": 0.0}, [{"0", "1"}, {"2", "3"}], reveal=False)
    assert result.rewards == {"9": 0.0}
    assert result.scored == {"0": 1.0, "1": 0.0, "9": 0.0}
    assert (result.held_out, result.withheld) == (3, 1)
