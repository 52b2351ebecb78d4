"""The gate's rules: what they ask for, when they have seen enough, and that no outcome left out could change it."""

import random
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoharness.gate.rule import Policy, Ratchet, Sequential
from autoharness.gate.sequential_test import bar, walk
from autoharness.vault.ledger_rows import RULES, VOID, Request, Side, Verdict

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


_some_rewards = st.sampled_from([0.0, 1.0, 0.0, 1.0, 0.3, VOID, None])


@pytest.mark.slow
@settings(deadline=None)
@given(
    st.lists(_some_rewards, min_size=45, max_size=45),
    st.dictionaries(st.sampled_from(TASKS), st.integers(0, 5)),
    st.integers(0, 9),
    st.sampled_from([0, RULES]),
    st.lists(_some_rewards, min_size=1, max_size=5),
)
def test_told_of_one_reward_after_another_it_has_seen_enough_when_it_would_decide(
    rewards: list[float | None],
    bought: dict[str, int],
    questions: int,
    rules: int,
    ends_with: list[float | None],
) -> None:
    """Whatever comes, each time: also beyond the first time that it would, for losses that are few among many."""
    best: dict[str, float | None] = dict(zip(TASKS, (*ends_with, 1.0, 0.0, None, 1.0), strict=False))
    policies: list[Policy] = [
        Sequential(TASKS, 3, 4, questions, "any", bought, rules),
        Sequential([], 3, 4, questions, "any", bought, rules),
        Ratchet(TASKS, 0, 2, best, rules),
    ]
    for policy in policies:
        following, seen = policy.follow(), dict[Request, float | None]()
        assert following.decided == (policy.decide(seen) is not None)
        turned = random.Random(str(rewards)).choices([*rewards, *ends_with * 3], k=len(policy.requests))
        for taken, (request, reward) in enumerate(zip(policy.requests, turned, strict=True)):
            assert following.taken == taken
            following.take(reward)
            seen[request] = reward
            assert following.decided == (policy.decide(seen) is not None)


def test_it_is_followed_in_a_fraction_of_the_time() -> None:
    """Counted in pairs that are looked at, for 40 tasks of 8 trials whose edit changes nothing."""
    policy, looked_at = Sequential([str(number) for number in range(40)], 0, 8, 0, "any"), [0]
    plain = policy._difference

    def counted(place: int, seen: Any) -> tuple[float, float]:
        looked_at[0] += 1
        return plain(place, seen)

    policy._difference = counted  # type: ignore[method-assign]
    following, draw = policy.follow(), random.Random(1)
    while not following.decided:
        following.take(float(draw.random() < 0.5))
    pairs = following.taken / 2
    assert pairs > 20 and looked_at[0] < 40 * following.taken


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
    assert "4 trials could not be evaluated" in decision.reasons[0]


def test_what_tau2_cannot_evaluate_counts_0_on_either_side() -> None:
    """Otherwise an incumbent that voids what it fails would keep better edits out, and a candidate could gain."""
    policy = _sequential()
    for side in Side:
        seen = _rewards(policy, (1.0, 1.0, 1))
        void = {one: VOID for one in policy.requests if one.side == side}
        failed = dict.fromkeys(void, 0.0)
        decision, plainly = policy.decide(seen | void), policy.decide(seen | failed)
        assert decision and plainly and decision.verdict == plainly.verdict
        assert (decision.verdict == Verdict.ACCEPTED) == (side == Side.INCUMBENT)
        counts = (len(void), 0) if side == Side.CANDIDATE else (0, len(void))
        assert decision.reasons[-1] == (
            f"{len(void)} trials count 0, tau2 itself cannot evaluate them: {counts[0]} of the candidate's, "
            f"{counts[1]} of the kept version's"
        )


def test_a_task_that_is_void_on_both_sides_is_an_equal_pair() -> None:
    policy = _sequential()
    seen = _rewards(policy, (1.0, 0.0, 1))
    both = {one: VOID for one in policy.requests if one.task_id == "1"}
    equal = {one: 0.0 for one in policy.requests if one.task_id == "1"}
    assert _verdict(policy, seen | both) == _verdict(policy, seen | equal)


@given(_worlds, st.sets(st.integers(0, 19), max_size=20))
def test_voids_of_the_candidate_never_help_it(world: tuple[float, float, int], voided: set[int]) -> None:
    policy = _sequential()
    honest = _rewards(policy, world)
    own = [request for request in policy.requests if request.side == Side.CANDIDATE]
    if _verdict(policy, honest | {own[n]: VOID for n in voided}) == Verdict.ACCEPTED:
        assert _verdict(policy, honest) == Verdict.ACCEPTED


def test_a_verdict_of_an_earlier_version_is_worked_out_by_its_rules() -> None:
    """There a task that was void for the incumbent left both sides, and one of the candidate alone was open."""
    policy = Sequential(TASKS, 3, max_trials=4, questions=0, order="any", rules=0)
    seen = _rewards(policy, (1.0, 0.0, 1))
    theirs = {one: VOID for one in policy.requests if one.side == Side.INCUMBENT and one.task_id == "1"}
    equal = {one: 0.0 for one in policy.requests if one.task_id == "1"}
    assert _verdict(policy, seen | theirs) == _verdict(policy, seen | equal) == Verdict.ACCEPTED
    ours = {one: VOID for one in policy.requests if one.side == Side.CANDIDATE}
    assert _verdict(policy, seen | ours) == Verdict.UNDECIDED


@pytest.mark.parametrize(
    ("tasks", "wins", "verdict", "reason"),
    [
        (40, 40, Verdict.ACCEPTED, "ahead by 5.0 tasks after 5 paired trials; needs 5.0 to be accepted"),
        (4, 4, Verdict.ACCEPTED, "ahead by 4.0 tasks after 4 paired trials; these are all, so 2.5 is enough"),
        (4, 2, Verdict.REJECTED, "ahead by 2.0 tasks after 4 paired trials; these are all, so 2.5 is enough"),
        (40, -40, Verdict.REJECTED, "behind by 3.0 tasks after 3 paired trials; needs 5.0 to be accepted"),
        (200, 1, Verdict.REJECTED, "paired trials; needs 5.0 to be accepted, and by now more than "),
    ],
    ids=["ahead", "at-the-end", "not-enough-at-the-end", "behind", "too-slow"],
)
def test_its_reason_names_what_decided(tasks: int, wins: int, verdict: Verdict, reason: str) -> None:
    policy = Sequential([str(n) for n in range(tasks)], 0, 1, 0, "any")
    winner = Side.CANDIDATE if wins > 0 else Side.INCUMBENT
    won = {one.task_id for one in [r for r in policy.requests if r.side == Side.CANDIDATE][: abs(wins)]}
    decision = policy.decide({one: float(one.side == winner and one.task_id in won) for one in policy.requests})
    assert decision and decision.verdict == verdict and reason in decision.reasons[0]


def test_a_reason_of_what_is_still_open_says_at_least() -> None:
    """The verdict took the open ones at their worst."""
    policy = Sequential([str(n) for n in range(40)], 0, 1, 0, "any")
    seen = {one: float(one.side == Side.CANDIDATE) for one in policy.requests}
    first = policy.requests[0]
    decision = policy.decide(seen | {first: None})
    assert decision and decision.verdict == Verdict.ACCEPTED
    assert (
        decision.reasons[0] == "candidate ahead by at least 5.0 tasks after 6 paired trials; needs 5.0 to be accepted"
    )


def test_its_reasons_say_how_far_ahead_how_sure_and_what_could_have_been_told_apart() -> None:
    policy = Sequential([str(n) for n in range(40)], 0, 8, 0, "any")
    decision = policy.decide({one: float(one.side == Side.CANDIDATE) for one in policy.requests})
    assert (
        decision
        and decision.reasons[0] == "candidate ahead by 5.0 tasks after 5 paired trials; needs 5.0 to be accepted"
    )
    assert decision.reasons[1].startswith("difference +100.0 points, 95 % interval +")
    assert "an edit that changes nothing" in decision.reasons[2] and "4 times in 5" in decision.reasons[2]


def test_the_first_trial_without_a_part_in_the_verdict_comes_after_all_that_can_have_one() -> None:
    policy = _sequential()
    assert policy.next_number == 1 + max(one.number for one in policy.requests if one.side == Side.CANDIDATE)


def _ratchet(held_out: list[float | None], best: Any = BEST, rules: int = RULES) -> Verdict | None:
    policy = Ratchet(list("1234"), 0, 1, best, rules)
    return _verdict(policy, dict(zip(policy.requests, held_out, strict=True)))


@pytest.mark.parametrize(
    ("held_out", "verdict"),
    [
        ([1, 1, 1, 0], Verdict.ACCEPTED),
        ([0, 1, 0, 1], Verdict.ACCEPTED),
        ([1, 0, 0, 0], Verdict.REJECTED),
        ([1, 1, 1, None], Verdict.UNDECIDED),
        ([0, 0, 0, None], Verdict.UNDECIDED),
        ([1, 1, 0, VOID], Verdict.ACCEPTED),
        ([1, 0, 0, VOID], Verdict.REJECTED),
    ],
)
def test_the_ratchets_verdicts(held_out: list[float | None], verdict: Verdict) -> None:
    assert _ratchet(held_out) == verdict


def test_the_ratchet_waits_for_the_whole_split() -> None:
    policy = Ratchet(list("1234"), 0, 1, BEST)
    assert policy.decide(dict.fromkeys(policy.requests[:3], 1.0)) is None


def test_a_task_without_a_reward_in_the_best_version_counts_0_for_it() -> None:
    """It was void there. If it is so for the candidate too, it is left out."""
    best = {"1": 1.0, "2": None, "3": 0.0, "4": 0.0}
    assert _ratchet([0.0, 1.0, 0.0, 0.0], best) == Verdict.ACCEPTED
    assert _ratchet([0.0, 0.0, 0.0, 0.0], best) == Verdict.REJECTED
    assert _ratchet([1.0, VOID, 0.0, 0.0], best) == Verdict.ACCEPTED
    assert _ratchet([0.0, VOID, 0.0, 0.0], best) == Verdict.REJECTED
    assert _ratchet([1.0, None, 0.0, 0.0], best) == Verdict.UNDECIDED


def test_the_ratchet_of_an_earlier_version() -> None:
    best = {"1": 1.0, "2": None, "3": 0.0, "4": 0.0}
    assert _ratchet([1.0, VOID, 0.0, 0.0], best, rules=0) == Verdict.ACCEPTED
    assert _ratchet([1.0, None, 0.0, 0.0], best, rules=0) == Verdict.ACCEPTED
    assert _ratchet([1, 1, 1, VOID], rules=0) == Verdict.UNDECIDED
