"""The walk of the default policy, against its own definition and against many simulated walks."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoharness.gate.sequential_test import bar, detectable_gain, operating_point, walk

_differences = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), max_size=80)


@pytest.mark.parametrize(
    ("differences", "ended"),
    [
        pytest.param([1.0] * 9, (True, 5), id="five ahead is enough"),
        pytest.param([-1.0] * 9, (False, 3), id="three behind is too much"),
        pytest.param([0.0] * 200, (False, 100), id="the rising line rejects what changes nothing"),
        pytest.param([1.0, 1.0, 0.0, 1.0], (True, 4), id="at the end more than half the bar is enough"),
        pytest.param([1.0, 1.0, 0.0, 0.0], (False, 4), id="at the end less than half the bar is not"),
        pytest.param([], (False, 0), id="no pair"),
    ],
)
def test_a_walk_ends_at_a_line_or_with_its_trials(differences: list[float], ended: tuple[bool, int]) -> None:
    assert walk(differences, bar=5.0) == ended


def test_the_bar_rises_by_half_a_task_with_each_doubling_of_the_questions() -> None:
    assert [bar(questions) for questions in (0, 1, 3, 7)] == [5.0, 5.5, 6.0, 6.5]


@given(_differences, st.integers(0, 79), st.floats(0, 1), st.floats(3, 12))
def test_a_better_outcome_never_turns_acceptance_into_rejection(
    differences: list[float], at: int, more: float, level: float
) -> None:
    """What exact curtailment rests on: with the worst and the best outcomes alike, so is every one between."""
    better = list(differences)
    if at < len(better):
        better[at] += more
    assert walk(better, level)[0] >= walk(differences, level)[0]


@pytest.mark.slow
@pytest.mark.parametrize("gain", [-0.1, 0.0, 0.05, 0.15])
def test_the_operating_point_is_the_share_of_simulated_walks(gain: float) -> None:
    generator, differing, pairs, level, walks = random.Random(7), 0.3, 160, 5.5, 20_000
    shares = [(differing + gain) / 2, (differing - gain) / 2, 1 - differing]
    ends = [walk(generator.choices([1.0, -1.0, 0.0], shares, k=pairs), level) for _ in range(walks)]
    accepted, expected = operating_point(level, pairs, differing, gain)
    assert sum(end[0] for end in ends) / walks == pytest.approx(accepted, abs=0.015)
    assert sum(end[1] for end in ends) / walks == pytest.approx(expected, rel=0.03)


def test_the_detectable_gain_is_accepted_four_times_in_five() -> None:
    gain = detectable_gain(5.0, 320, 0.26)
    assert gain is not None and operating_point(5.0, 320, 0.26, gain)[0] == pytest.approx(0.8, abs=0.01)
    assert detectable_gain(12.0, 10, 0.3) is None
