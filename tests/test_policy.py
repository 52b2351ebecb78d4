"""The gate's rules: what they ask for, when they have seen enough, and that no outcome left out could change it."""

import random
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoharness.policy import VOID, Policy, Ratchet, Request, Sequential, Side, Verdict
from autoharness.sequential import bar, walk

TASKS = ["1", "2", "3", "4", "5"]
BEST: dict[str, float | None] = {"1": 1.0, "2": 0.0, "3": 1.0, "4": 0.0}
_worlds = st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(0, 10**6))
"""Pass rates of candidate and incumbent, and a seed."""


def _sequential(questions: int = 0, first: int = 3) -> Sequential:
    return Sequential(TASKS, first, max_trials=4, questions=questions, order="any")


def _rewards(policy: Policy, world: tuple[float, float, int]) -> dict[Request, float | None]:
    """An outcome for every trial that the policy may ask for."""
    candidate, incumbent, seed = world
    generator, rates = random.Random(seed), {Side.CANDIDATE: candidate, Side.INCUMBENT: incumbent}
    return {request: float(generator.random() < rates[request.side]) for request in policy.requests}


def _verdict(policy: Policy, seen: dict[Request, float | None]) -> Verdict | None:
    decision = policy.decide(seen)
    return decision.verdict if decision else None


def test_it_asks_for_pairs_on_the_same_seeds_and_for_no_trial_that_promoted_the_incumbent() -> None:
    policy = _sequential()
    candidate, *incumbent = policy.requests[:3]
    assert candidate.side == Side.CANDIDATE and candidate.number == 3
    assert [(one.side, one.task_id, one.number) for one in incumbent] == [
        (Side.INCUMBENT, candidate.task_id, 3),
        (Side.INCUMBENT, candidate.task_id, 4),
    ]
    assert min(request.number for request in policy.requests) == 3
    assert sum(one.side == Side.CANDIDATE for one in policy.requests) == len(TASKS) * 4
    assert len(set(policy.requests)) == len(policy.requests)


@given(_worlds)
def test_with_every_outcome_known_it_is_the_walk_over_the_differences(world: tuple[float, float, int]) -> None:
    policy = _sequential(questions=3)
    seen = _rewards(policy, world)
    differences = []
    for request in (one for one in policy.requests if one.side == Side.CANDIDATE):
        numbers = range(3, min(request.number + 2, 7))
        opponents = [seen[Request(Side.INCUMBENT, request.task_id, number)] or 0.0 for number in numbers]
        differences.append((seen[request] or 0.0) - fmean(opponents))
    accepted, _ = walk(differences, bar(3))
    assert _verdict(policy, seen) == (Verdict.ACCEPTED if accepted else Verdict.REJECTED)


@given(_worlds, st.randoms(use_true_random=False))
def test_it_stops_only_where_no_outcome_that_is_left_could_change_the_verdict(
    world: tuple[float, float, int], order: Any
) -> None:
    """In whatever order the outcomes come in, and whatever the others would have been."""
    policy = _sequential()
    everything = _rewards(policy, world)
    arriving, seen = order.sample(policy.requests, len(everything)), {}
    for request in arriving:
        seen[request] = everything[request]
        if (stopped_with := _verdict(policy, seen)) is not None:
            break
    for otherwise in (0.0, 1.0):
        rest = {request: otherwise for request in policy.requests if request not in seen}
        assert _verdict(policy, seen | rest) == stopped_with
    assert _verdict(policy, everything) == stopped_with


def test_trials_of_the_incumbent_that_are_there_already_are_compared_with_too() -> None:
    policy = Sequential(TASKS, 3, max_trials=4, questions=0, order="any", bought={"1": 4, "2": 9, "3": 1})
    first = {one.task_id: one for one in policy.requests if one.side == Side.CANDIDATE and one.number == 3}
    compared = {task_id: [one.number for one in policy._opponents(first[task_id])] for task_id in TASKS}
    assert compared == {"1": [3, 4, 5, 6], "2": [3, 4, 5, 6], "3": [3, 4], "4": [3, 4], "5": [3, 4]}


def test_a_clear_difference_is_seen_before_the_first_trial_is_over() -> None:
    policy = Sequential([str(n) for n in range(40)], 0, 8, 0, "any")
    for reward, verdict in ((1.0, Verdict.ACCEPTED), (0.0, Verdict.REJECTED)):
        seen: dict[Request, float | None] = {}
        for request in policy.requests:
            seen[request] = reward if request.side == Side.CANDIDATE else 1 - reward
            if _verdict(policy, seen):
                break
        assert (_verdict(policy, seen), len(seen) <= 20) == (verdict, True)


@given(_worlds, st.sets(st.integers(0, 19), max_size=3))
def test_voiding_trials_never_gets_an_edit_accepted(world: tuple[float, float, int], voided: set[int]) -> None:
    """Whoever provokes an infrastructure error."""
    policy = _sequential()
    honest = _rewards(policy, world)
    own = [request for request in policy.requests if request.side == Side.CANDIDATE]
    cheating = honest | {own[n]: None for n in voided}
    assert _verdict(policy, cheating) in (_verdict(policy, honest), Verdict.UNDECIDED)


@given(_worlds, st.sets(st.integers(0, 24), max_size=3))
def test_a_lost_trial_of_the_incumbent_is_unknown_too(world: tuple[float, float, int], lost: set[int]) -> None:
    """Its return does not turn one verdict into the other."""
    policy = _sequential()
    honest = _rewards(policy, world)
    others = [request for request in policy.requests if request.side == Side.INCUMBENT]
    some_lost = honest | {others[n % len(others)]: None for n in lost}
    assert _verdict(policy, some_lost) in (_verdict(policy, honest), Verdict.UNDECIDED)


def test_an_outage_leaves_it_open_without_paying_for_more_of_it() -> None:
    policy = Sequential([str(n) for n in range(40)], 0, 8, 0, "any")
    seen: dict[Request, float | None] = {}
    for request in policy.requests:
        seen[request] = None
        decision = policy.decide(seen)
        if decision:
            break
    assert decision and decision.verdict == Verdict.UNDECIDED and len(seen) < 10
    assert "4 trials could not be evaluated" in decision.reasons[-1]


def test_a_task_that_cannot_be_evaluated_for_the_incumbent_leaves_both_sides() -> None:
    policy = _sequential()
    seen = _rewards(policy, (1.0, 0.0, 1))
    lost = {one: VOID for one in policy.requests if one.side == Side.INCUMBENT and one.task_id == "1"}
    with_it = policy.decide(seen | lost)
    without = policy.decide(seen | lost | {one: 0.0 for one in policy.requests if one.task_id == "1"})
    assert with_it and without and with_it.verdict == without.verdict == Verdict.ACCEPTED
    assert with_it.reasons[-2:] == [
        f"{len(lost)} trials are void, tau2 itself cannot evaluate them",
        "1 tasks leave both sides where the incumbent's trials are void: equal pairs",
    ]


def test_a_trial_that_cannot_be_evaluated_for_the_candidate_alone_may_be_a_pass_or_a_failure() -> None:
    policy = _sequential()
    seen = _rewards(policy, (1.0, 0.0, 1))
    void = {one: VOID for one in policy.requests if one.side == Side.CANDIDATE}
    decision = policy.decide(seen | void)
    assert decision and decision.verdict == Verdict.UNDECIDED
    assert decision.reasons[-1] == "20 trials are void for the candidate alone: they may be a pass or a failure"


def test_its_reasons_say_how_far_ahead_how_sure_and_what_could_have_been_told_apart() -> None:
    policy = Sequential([str(n) for n in range(40)], 0, 8, 0, "any")
    decision = policy.decide({one: float(one.side == Side.CANDIDATE) for one in policy.requests})
    assert decision and decision.reasons[0] == "+5.0 tasks ahead after 5 pairs of trials; accepted at +5.0"
    assert decision.reasons[1].startswith("difference +100.0 points, 95 % interval +")
    assert "an edit that changes nothing" in decision.reasons[2] and "4 times in 5" in decision.reasons[2]


def test_the_first_trial_without_a_part_in_the_verdict_comes_after_all_that_can_have_one() -> None:
    policy = _sequential()
    assert policy.next_number == 1 + max(one.number for one in policy.requests if one.side == Side.CANDIDATE)


def _ratchet(held_out: list[float | None], best: Any = BEST) -> Verdict | None:
    policy = Ratchet(list("1234"), 0, 1, best)
    return _verdict(policy, dict(zip(policy.requests, held_out, strict=True)))


@pytest.mark.parametrize(
    ("held_out", "verdict"),
    [
        ([1, 1, 1, 0], Verdict.ACCEPTED),
        ([0, 1, 0, 1], Verdict.ACCEPTED),
        ([1, 0, 0, 0], Verdict.REJECTED),
        ([1, 1, 1, None], Verdict.UNDECIDED),
        ([0, 0, 0, None], Verdict.UNDECIDED),
        ([1, 1, 1, VOID], Verdict.UNDECIDED),
        ([0, 0, 0, VOID], Verdict.UNDECIDED),
    ],
)
def test_the_ratchets_verdicts(held_out: list[float | None], verdict: Verdict) -> None:
    assert _ratchet(held_out) == verdict


def test_the_ratchet_waits_for_the_whole_split() -> None:
    policy = Ratchet(list("1234"), 0, 1, BEST)
    assert policy.decide(dict.fromkeys(policy.requests[:3], 1.0)) is None


def test_a_task_without_a_reward_in_the_best_version_leaves_both_sides_of_the_ratchet() -> None:
    assert _ratchet([1.0, None, 0.0, 0.0], {"1": 1.0, "2": None, "3": 0.0, "4": 0.0}) == Verdict.ACCEPTED
    assert _ratchet([0.0, None, 0.0, 0.0], {"1": 1.0, "2": None, "3": 0.0, "4": 0.0}) == Verdict.REJECTED


def test_a_void_trial_is_no_reward_to_the_ratchet() -> None:
    """Where the best version has no reward in that task either, it leaves both sides."""
    best = {"1": 1.0, "2": None, "3": 0.0, "4": 0.0}
    assert _ratchet([1.0, VOID, 0.0, 0.0], best) == Verdict.ACCEPTED
    policy = Ratchet(list("1234"), 0, 1, BEST)
    decision = policy.decide(dict(zip(policy.requests, [1.0, 1.0, None, VOID], strict=True)))
    assert decision and decision.reasons == [
        "2 trials could not be evaluated (1 of them by tau2 itself); the same command runs those again"
    ]
