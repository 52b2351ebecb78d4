"""Pairs of rewards in the tasks that both sides have, and what is said of them."""

from hypothesis import given
from hypothesis import strategies as st

from autoharness.comparison import Comparison, Score, sides_of
from autoharness.ledger import Confirmation, Look
from autoharness.policy import Side
from autoharness.stats import difference_interval, mean_interval

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


def test_a_confirmation_compares_means_over_trials_without_void_tasks() -> None:
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
