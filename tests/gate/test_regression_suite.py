"""The regression suite's verdicts: exact, and silent about what its own records explain."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoharness.gate.regression_suite import LEVEL, floor, veto
from autoharness.vault.ledger_rows import SuiteRecord as Record

_STEADY = Record(3, 3)
"""Fails with probability 0.5 / 4 = 0.125."""
_PROVEN = Record(30, 30)
"""Fails with probability 0.5 / 31 = 0.016."""


@pytest.mark.parametrize(
    ("results", "record", "holds", "said"),
    [
        pytest.param([], _STEADY, True, "is empty", id="empty"),
        pytest.param([1.0], _STEADY, True, "1/1 passed", id="all passed"),
        pytest.param([0.0], _STEADY, True, "0/1 passed: failures like these have probability 0.12", id="one young"),
        pytest.param([0.0, 0.0], _STEADY, False, "probability 0.016", id="two young ones at once"),
        pytest.param([0.0], _PROVEN, False, "probability 0.016", id="one that never failed in thirty"),
        pytest.param([None], _PROVEN, None, "1 of 1 suite tasks could not be evaluated", id="lost, and it matters"),
        pytest.param([None, 1.0], _STEADY, True, "1/2 passed", id="lost, and it does not matter"),
    ],
)
def test_it_vetoes_what_the_records_do_not_explain(
    results: list[float | None], record: Record, holds: bool | None, said: str
) -> None:
    verdict = veto({str(n): reward for n, reward in enumerate(results)}, {str(n): record for n in range(9)})
    assert verdict.holds is holds and said in verdict.reason


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=6))
def test_an_edit_that_breaks_nothing_is_vetoed_no_more_often_than_the_level(history: list[tuple[int, int]]) -> None:
    """Over every way in which tasks with these failure rates can turn out."""
    records = {str(n): Record(good, good + bad) for n, (good, bad) in enumerate(history)}
    vetoed = 0.0
    for outcome in itertools.product([0.0, 1.0], repeat=len(records)):
        rates = [record.failure_rate for record in records.values()]
        chance = math.prod(1 - rate if reward else rate for reward, rate in zip(outcome, rates, strict=True))
        vetoed += chance * (veto(dict(zip(records, outcome, strict=True)), records).holds is False)
    assert vetoed <= LEVEL + 1e-12


def test_a_record_counts_what_is_added() -> None:
    assert Record() + 1.0 + 0.0 + 1.0 == Record(2, 3)


@pytest.mark.parametrize(
    ("results", "holds"),
    [([], True), ([1, 1, 1, 1, 0], True), ([1, 1, 1, 0], False), ([1, 1, 1, None], None)],
)
def test_the_floor_is_the_references(results: list[float | None], holds: bool | None) -> None:
    assert floor({str(n): reward for n, reward in enumerate(results)}, 0.8).holds is holds
