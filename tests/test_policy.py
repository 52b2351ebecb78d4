"""The reference's rule: the suite's pass rate reaches the threshold, the held-out mean the best recorded one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoharness.policy import Evidence, Ratchet, Verdict

BEST: dict[str, float | None] = {"1": 1.0, "2": 0.0, "3": 1.0, "4": 0.0}
NONE: dict[str, float | None] = {}


def _verdict(held_out: dict[str, float | None], suite: dict[str, float | None] = NONE, best: Any = None) -> Verdict:
    return Ratchet().decide(Evidence(suite, 0.8, held_out, best or BEST)).verdict


@pytest.mark.parametrize(
    ("held_out", "suite", "verdict"),
    [
        ([1, 1, 1, 0], [], Verdict.ACCEPTED),
        ([0, 1, 0, 1], [], Verdict.ACCEPTED),
        ([1, 0, 0, 0], [], Verdict.REJECTED),
        ([1, 1, 1, 1], [1, 1, 1, 1, 0], Verdict.ACCEPTED),
        ([1, 1, 1, 1], [1, 1, 1, 0], Verdict.REJECTED),
        ([1, 1, 1, 1], [1, 1, 1, None], Verdict.UNDECIDED),
        ([1, 1, 1, None], [], Verdict.UNDECIDED),
        ([0, 0, 0, None], [], Verdict.UNDECIDED),
    ],
)
def test_its_verdicts(held_out: list[float | None], suite: list[float | None], verdict: Verdict) -> None:
    rewards = dict(zip("1234", held_out, strict=True))
    assert _verdict(rewards, {f"s{n}": reward for n, reward in enumerate(suite)}) == verdict


def test_a_task_without_a_reward_in_the_best_version_leaves_both_sides() -> None:
    decision = Ratchet().decide(Evidence({}, 0.8, {"1": 1.0, "2": None, "3": 0.0}, {"1": 1.0, "2": None, "3": 0.0}))
    assert (decision.verdict, decision.val_score, decision.best) == (Verdict.ACCEPTED, 0.5, 0.5)


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=4, max_size=4), st.sets(st.integers(0, 3)))
def test_voiding_tasks_never_gets_an_edit_accepted(rewards: list[float], voided: set[int]) -> None:
    """Whoever provokes an infrastructure error."""
    honest = dict(zip("1234", rewards, strict=True))
    cheating = {id: None if n in voided else reward for n, (id, reward) in enumerate(honest.items())}
    if voided:
        assert _verdict(cheating) == Verdict.UNDECIDED
    else:
        assert _verdict(cheating) == _verdict(honest)
