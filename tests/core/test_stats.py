"""Statistics of trials: hand-computed figures, other libraries, and properties over random inputs."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, f

from autoharness.core.pass_k import pass_at_k, pass_hat_k
from autoharness.core.stats import (
    at_least,
    dependence,
    difference_interval,
    f_quantile,
    mean_interval,
    more_often,
    score_line,
    sign_test,
    widened,
)


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    [
        pytest.param(0, 0, 1.0, id="no pair differs"),
        pytest.param(1, 0, 1.0, id="one pair says nothing"),
        pytest.param(5, 0, 2 / 2**5, id="five to none"),
        pytest.param(8, 2, 2 * (1 + 10 + 45) / 2**10, id="eight to two"),
        pytest.param(3, 3, 1.0, id="even"),
    ],
)
def test_the_sign_test_gives_hand_computed_p_values(better: int, worse: int, p: float) -> None:
    assert sign_test(better, worse) == pytest.approx(p)
    assert sign_test(worse, better) == sign_test(better, worse)


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_sign_test_is_scipys_binomial_test(better: int, worse: int) -> None:
    expected = binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert sign_test(better, worse) == pytest.approx(expected)


@pytest.mark.parametrize("pairs", [5, 12, 40])
def test_under_the_null_the_sign_test_is_below_its_level_no_more_often_than_that(pairs: int) -> None:
    for level in (0.01, 0.05, 0.2):
        often = sum(math.comb(pairs, k) for k in range(pairs + 1) if sign_test(k, pairs - k) <= level) / 2**pairs
        assert often <= level


@pytest.mark.slow
@given(st.integers(1, 200), st.data())
def test_the_interval_of_a_pass_rate_is_scipys_wilson_interval(n: int, data: st.DataObject) -> None:
    passed = data.draw(st.integers(0, n))
    expected = binomtest(passed, n).proportion_ci(method="wilson")
    assert mean_interval([1.0] * passed + [0.0] * (n - passed)) == pytest.approx((expected.low, expected.high))


def test_a_score_is_printed_with_its_counts_and_its_interval() -> None:
    assert score_line([1.0, 0.0, 1.0, None]) == (
        "0.6667  (2/3 passed, 1 infra errors), 95 % interval 0.21 to 0.94, 0.5000 to 0.7500 over all 4"
    )
    assert score_line([None]) == "N/A  (0/0 passed, 1 infra errors)"


def test_a_task_with_several_trials_passed_if_all_of_them_did() -> None:
    assert score_line([0.25, 0.75, 1.0], 4).startswith("0.6667  (1/3 passed all 4 trials, 0 infra errors)")


def test_no_task_says_nothing_about_the_mean() -> None:
    assert mean_interval([]) == (0.0, 1.0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_the_interval_of_a_mean_holds_it_and_stays_in_range(values: list[float]) -> None:
    low, high = mean_interval(values)
    assert 0 <= low <= sum(values) / len(values) + 1e-12 and sum(values) / len(values) - 1e-12 <= high <= 1


def test_the_interval_of_a_difference_is_agresti_and_mins() -> None:
    """Their formula by hand, for 10 wins, 4 losses, 26 equal pairs: one half is added to each of the four cells."""
    b, c, n = 10.5, 4.5, 42.0
    spread = 1.959964 * math.sqrt(b + c - (b - c) ** 2 / n) / n
    low, high = difference_interval([1.0] * 10 + [-1.0] * 4 + [0.0] * 26)
    assert (low, high) == pytest.approx(((b - c) / n - spread, (b - c) / n + spread))


@given(st.lists(st.floats(-1, 1), max_size=50))
def test_the_interval_of_a_difference_has_width_even_where_all_pairs_are_equal(differences: list[float]) -> None:
    low, high = difference_interval(differences)
    assert -1 <= low < high <= 1


@given(st.lists(st.floats(0, 1), max_size=8), st.integers(-1, 9))
def test_at_least_adds_up_every_way_in_which_events_can_happen(probabilities: list[float], count: int) -> None:
    total = 0.0
    for happened in itertools.product([True, False], repeat=len(probabilities)):
        if sum(happened) >= count:
            total += math.prod(p if yes else 1 - p for p, yes in zip(probabilities, happened, strict=True))
    assert at_least(count, probabilities) == pytest.approx(min(1.0, total))


@given(st.integers(1, 7), st.data())
def test_pass_hat_k_and_pass_at_k_are_shares_of_all_choices_of_k_trials(trials: int, data: st.DataObject) -> None:
    passed, k = data.draw(st.integers(0, trials)), data.draw(st.integers(1, trials))
    choices = list(itertools.combinations([True] * passed + [False] * (trials - passed), k))
    assert pass_hat_k(passed, trials, k) == pytest.approx(sum(map(all, choices)) / len(choices))
    assert pass_at_k(passed, trials, k) == pytest.approx(sum(map(any, choices)) / len(choices))


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 30), st.integers(1, 30))
def test_how_often_chance_puts_so_many_on_one_side(count: int, of: int, others: int, of_others: int) -> None:
    """Against the definition: every way to deal the cards alike."""
    count, others = min(count, of), min(others, of_others)
    cards = [1] * (count + others) + [0] * (of + of_others - count - others)
    if len(cards) <= 9:
        hands = list(itertools.permutations(cards))
        expected = sum(sum(hand[:of]) >= count for hand in hands) / len(hands)
        assert more_often(count, of, others, of_others) == pytest.approx(expected)
    assert 0 < more_often(count, of, others, of_others) <= 1
    assert more_often(0, of, others, of_others) == 1


def test_twelve_of_forty_against_none_of_eighty_is_no_chance() -> None:
    assert more_often(12, 40, 0, 80) < 1e-5 < more_often(2, 40, 1, 80)


@given(st.floats(0.001, 0.999), st.integers(1, 60), st.integers(1, 3000))
def test_the_quantile_of_f_is_scipys(p: float, above: int, below: int) -> None:
    expected = f.ppf(p, above, below)
    assert f_quantile(p, above, below) == pytest.approx(expected, rel=1e-3, abs=1e-9)


@pytest.mark.parametrize(("above", "below"), [(199, 99_301), (1_999, 226_000), (1, 1)])
def test_so_it_is_for_many_trials_of_many_tasks(above: int, below: int) -> None:
    for p in (0.025, 0.975):
        assert f_quantile(p, above, below) == pytest.approx(f.ppf(p, above, below), rel=2e-3)


def test_the_luck_of_each_trial_widens_an_interval_by_students_quantile() -> None:
    spread = 4.302653 * 0.1 / 3**0.5
    assert widened((0.2, 0.2), [0.1, 0.2, 0.3]) == pytest.approx((0.2 - spread, 0.2 + spread), abs=1e-6)
    assert widened((0.1, 0.3), [0.2, 0.2, 0.2]) == pytest.approx((0.1, 0.3))
    assert widened((0.1, 0.3), [0.2]) == (-1.0, 1.0)


@pytest.mark.parametrize("trials", [2, 4])
@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_an_interval_that_counts_each_trials_luck_holds_the_truth(trials: int, shared: float) -> None:
    """Of a difference of 0 between two sides with luck of their own: 40 tasks, 300 times."""
    draw, held = random.Random(trials), 0
    for _ in range(300):
        hard = [draw.choice((0.1, 0.5, 0.9)) for _ in range(40)]
        sides = [_drawn(hard, shared, trials, draw) for _ in range(2)]
        table = [[b - a for a, b in zip(*both, strict=True)] for both in zip(*sides, strict=True)]
        by_trial = [sum(one) / 40 for one in zip(*table, strict=True)]
        low, high = widened(difference_interval([sum(some) / trials for some in table]), by_trial)
        held += low <= 0 <= high
    assert held / 300 > 0.93


def _trials(shared: float, tasks: int, trials: int, draw: random.Random) -> list[list[float]]:
    """Tasks of several difficulties."""
    return _drawn([draw.choice((0.0, 0.1, 0.5, 0.9)) for _ in range(tasks)], shared, trials, draw)


def _drawn(hard: list[float], shared: float, trials: int, draw: random.Random) -> list[list[float]]:
    """By task and trial. With probability `shared` a task takes its trial's luck in place of its own."""
    luck = [draw.random() for _ in range(trials)]
    return [[float((one if draw.random() < shared else draw.random()) < p) for one in luck] for p in hard]


def test_luck_that_tasks_share_is_seen_and_chance_is_not() -> None:
    draw = random.Random(7)
    seen = {shared: [dependence(_trials(shared, 40, 6, draw)) for _ in range(200)] for shared in (0.0, 0.7)}
    rates = {shared: sum(bool(one and one.is_seen) for one in some) / 200 for shared, some in seen.items()}
    assert rates[0.0] < 0.05 and rates[0.7] > 0.9


def test_tasks_that_flip_together_are_worth_one() -> None:
    found = dependence([[0.0, 1.0, 1.0]] * 12)
    assert found and (found.correlation, found.worth, found.is_seen) == (1.0, 1.0, True)
    assert dependence([[1.0, 1.0]] * 5) is None and dependence([[0.0, 1.0]] * 4) is None and dependence([]) is None
