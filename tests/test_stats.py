"""The sign test against scipy-free facts: hand-computed values, symmetry, and its promise under the null."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoharness.stats import sign_test


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (6, 0, 2 / 64), (9, 1, 22 / 1024), (4, 4, 1.0), (3, 7, 352 / 1024)],
)
def test_values_computed_by_hand(better: int, worse: int, p: float) -> None:
    assert sign_test(better, worse) == pytest.approx(p)


@given(st.integers(0, 200), st.integers(0, 200))
def test_direction_does_not_matter_and_it_is_a_probability(better: int, worse: int) -> None:
    assert 0 < sign_test(better, worse) == sign_test(worse, better) <= 1


@pytest.mark.parametrize("pairs", [5, 12, 40])
def test_under_the_null_it_is_below_its_level_no_more_often_than_that(pairs: int) -> None:
    for level in (0.01, 0.05, 0.2):
        often = sum(math.comb(pairs, k) for k in range(pairs + 1) if sign_test(k, pairs - k) <= level) / 2**pairs
        assert often <= level
