"""The gate's rule: which trials it asks for, and what it decides from their rewards.

A policy says which trials it may need, in the order in which it wants them, and after each one whether it has seen
enough. `Sequential` is the default. `Ratchet` is the usual rule: the held-out mean is at least the best ever
recorded. Its weakness is known: the best of many noisy scores is a lucky one.
"""

import random
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from itertools import chain, islice
from statistics import fmean
from types import MappingProxyType
from typing import Protocol

from autoharness.core.outcomes import Rewards, mean
from autoharness.core.stats import difference_interval, in_points
from autoharness.gate.sequential_test import Walk, bar, detectable_gain, in_tasks, operating_point
from autoharness.vault.ledger_rows import RULES, VOID, Request, Seen, Side, Verdict

_ROUNDING = 1e-9
"""Sums of the same numbers in another order differ by less."""
_FEW_LOST, _MOST_LOST = 3, 0.2
"""How many lost trials a gate run may have whatever its size, and which share of its trials."""


@dataclass(frozen=True)
class Decision:
    verdict: Verdict
    reasons: list[str]
    """One line for each thing that was checked."""


class Policy(Protocol):
    requests: list[Request]
    """Every trial that may be needed, in the order in which to run them."""

    def decide(self, seen: Seen) -> Decision | None:
        """None while it depends on trials that were not run yet."""

    def follow(self) -> "Following":
        """The same decision, from one reward after another."""

    next_number: int
    """The number of the candidate's first trial that can have no part in the verdict."""

    def differences(self, seen: Seen) -> list[float]:
        """Candidate minus incumbent, in each pair that the verdict rests on."""


class Following:
    """Whether a policy has seen enough: it is told of the rewards one by one, in the order of its requests."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._seen: dict[Request, float | None] = {}
        self.decided = self._decides()

    @property
    def taken(self) -> int:
        """How many rewards it was told of."""
        return len(self._seen)

    def take(self, reward: float | None) -> None:
        self._seen[self._policy.requests[self.taken]] = reward
        self.decided = self._decides()

    def _decides(self) -> bool:
        return self._policy.decide(self._seen) is not None


class Sequential:
    """Candidate against incumbent, pair by pair, until no outcome that is still unknown could change the verdict.

    A pair is one trial of the candidate and the mean of the incumbent's trials of the same task: all those that
    earlier gate runs have bought, and always one more than the candidate has, so that no single lucky one decides.
    Those that promoted it were lucky, and do not count.

    An outcome that infrastructure lost is unknown as well: whatever it was, the verdict must be the same, otherwise
    there is none. A trial that tau2 itself cannot score counts 0, on either side. So an agent cannot gain by
    preventing a score of the trials that it fails, nor can an incumbent that does so keep a better edit out. If tau2
    can score neither side, they are equal.
    """

    def __init__(
        self,
        tasks: list[str],
        first_number: int,
        max_trials: int,
        questions: int,
        order: str,
        bought: Mapping[str, int] = MappingProxyType({}),
        rules: int = RULES,
    ) -> None:
        """`first_number`: the incumbent's first trial that had no part in promoting it. `questions`: gate
        runs since then. `order`: seeds the order of the tasks. `bought`: how many trials the incumbent has, by task.
        """
        self._void = 0.0 if rules else None
        self.bar = bar(questions)
        self.next_number = first_number + max_trials
        self._first, self._max_trials, self._bought = first_number, max_trials, bought
        self._pairs = [
            Request(Side.CANDIDATE, task_id, first_number + trial)
            for trial in range(max_trials)
            for task_id in random.Random(f"{order} {trial}").sample(tasks, len(tasks))
        ]
        self._compared = [self._opponents(pair) for pair in self._pairs]
        wanted = chain.from_iterable((pair, *some) for pair, some in zip(self._pairs, self._compared, strict=True))
        self.requests = list(dict.fromkeys(wanted))

    def decide(self, seen: Seen) -> Decision | None:
        verdict, decided = self._end(seen)
        if verdict:
            return Decision(verdict, self._reasons(seen, decided, verdict))
        if _too_many_lost(seen) or len(seen) == len(self.requests):
            return Decision(Verdict.UNDECIDED, self._reasons(seen, decided, Verdict.UNDECIDED))
        return None

    def _end(self, seen: Seen) -> tuple[Verdict | None, Walk]:
        """The verdict, None while open pairs matter; and the test that decides, open pairs at their worst or best."""
        at_worst, at_best = Walk(self.bar), Walk(self.bar)
        accepted_at_worst = at_worst.end(low for low, _ in self._differences(seen))
        accepted_at_best = at_best.end(high for _, high in self._differences(seen))
        if accepted_at_worst == accepted_at_best:
            return (Verdict.ACCEPTED, at_worst) if accepted_at_worst else (Verdict.REJECTED, at_best)
        return None, at_worst

    def follow(self) -> Following:
        return _Walking(self)

    def differences(self, seen: Seen) -> list[float]:
        _, decided = self._end(seen)
        return self._settled(seen, decided.pairs)

    def _opponents(self, pair: Request) -> list[Request]:
        """The incumbent's trials that the candidate's is compared with."""
        wanted = max(pair.number - self._first + 2, self._bought.get(pair.task_id, 0))
        numbers = range(self._first, self._first + min(wanted, max(2, self._max_trials)))
        return [Request(Side.INCUMBENT, pair.task_id, number) for number in numbers]

    def _differences(self, seen: Seen) -> Iterator[tuple[float, float]]:
        return (self._difference(place, seen) for place in range(len(self._pairs)))

    def _difference(self, place: int, seen: Seen) -> tuple[float, float]:
        """The least and the greatest difference that a pair can turn out to have."""
        opponents = [seen.get(one) for one in self._compared[place]]
        rewards = [known for reward in opponents if (known := self._known(reward)) is not None]
        unknown = opponents.count(None)
        trials = len(rewards) + unknown
        if not trials:
            return 0.0, 0.0
        reward = self._known(seen.get(self._pairs[place]))
        at_worst, at_best = (0.0, 1.0) if reward is None else (reward, reward)
        return at_worst - (sum(rewards) + unknown) / trials, at_best - sum(rewards) / trials

    def _settled(self, seen: Seen, pairs: int) -> list[float]:
        """`pairs`: after how many the test ended. What was in flight then is no part of it."""
        return [low for low, high in islice(self._differences(seen), pairs) if low == high]

    def _reasons(self, seen: Seen, decided: Walk, verdict: Verdict) -> list[str]:
        """The first line names what decided."""
        known = self._settled(seen, decided.pairs)
        lost = sum(reward is None for reward in seen.values())
        behind = decided.ahead < 0
        bound = "at most " if (verdict == Verdict.REJECTED) != behind else "at least "
        sum_of_pairs = f"{'' if len(known) == decided.pairs else bound}{in_tasks(abs(decided.ahead))}"
        where = f"candidate {'behind' if behind else 'ahead'} by {sum_of_pairs} tasks"
        lines = [f"{where} after {decided.pairs} paired trials; {decided.needs}"]
        if known:
            shown = in_points(fmean(known), difference_interval(known))
            lines += [f"difference {shown}", self._power(known)]
        lines += self._void_lines(seen)
        if lost:
            line = f"{lost} trials could not be evaluated; the same command runs those again"
            lines.insert(0 if verdict == Verdict.UNDECIDED else len(lines), line)
        return lines

    def _known(self, reward: float | None) -> float | None:
        return self._void if reward == VOID else reward

    def _void_lines(self, seen: Seen) -> list[str]:
        """How trials count that tau2 itself could not score."""
        void = [one.side for one, reward in seen.items() if reward == VOID]
        if not void:
            return []
        sides = f"{void.count(Side.CANDIDATE)} of the candidate's, {void.count(Side.INCUMBENT)} of the kept version's"
        return [f"{len(void)} trials count 0, tau2 itself cannot evaluate them: {sides}"]

    def _power(self, known: list[float]) -> str:
        """Which gain this gate run could find."""
        differing = max(0.05, mean(abs(difference) for difference in known) or 0.0)
        gain = detectable_gain(self.bar, len(self._pairs), differing)
        neutral, _ = operating_point(self.bar, len(self._pairs), differing, 0.0)
        found = "no gain" if gain is None else f"a gain of {100 * gain:.1f} points"
        nothing = f"an edit that changes nothing is accepted with probability {neutral:.2f}"
        return f"at this noise {nothing}, and {found} 4 times in 5"


class _Walking(Following):
    """Continues from the last complete pair instead of from the first one, since it is asked after each trial.

    The requests come pair by pair, so a pair whose trials are all there does not change any more.
    """

    def __init__(self, policy: Sequential) -> None:
        self._sequential = policy
        self._worst, self._best = Walk(policy.bar), Walk(policy.bar)
        self._complete = 0
        """How many pairs are complete and were taken."""
        places = {request: place for place, request in enumerate(policy.requests)}
        pairs = zip(policy._pairs, policy._compared, strict=True)
        self._needed = [1 + max(places[one] for one in (pair, *some)) for pair, some in pairs]
        """How many requests each pair has to wait for."""
        super().__init__(policy)

    def _decides(self) -> bool:
        while self._complete < len(self._needed) and self._needed[self._complete] <= self.taken:
            low, high = self._sequential._difference(self._complete, self._seen)
            self._worst.take(low)
            self._best.take(high)
            self._complete += 1
        at_worst, at_best = (copy(one).end(self._left(which)) for which, one in enumerate((self._worst, self._best)))
        return at_worst == at_best or _too_many_lost(self._seen) or self.taken == len(self._policy.requests)

    def _left(self, which: int) -> Iterator[float]:
        """The least (0) or the greatest (1) differences of the pairs that are not complete."""
        places = range(self._complete, len(self._needed))
        return (self._sequential._difference(place, self._seen)[which] for place in places)


def _too_many_lost(seen: Seen) -> bool:
    """Whether infrastructure failed so often that going on would only pay for more failures."""
    lost = sum(reward is None for reward in seen.values())
    return lost > max(_FEW_LOST, _MOST_LOST * len(seen))


class Ratchet:
    """Held-out mean >= the best recorded one.

    A trial that tau2 itself cannot score counts 0, and so does a task of the best version that has no reward; a
    task that has none on either side is left out. A trial that infrastructure lost leaves the verdict open.
    """

    def __init__(self, tasks: list[str], first_number: int, trials: int, best: Rewards, rules: int = RULES) -> None:
        """`best`: the rewards of the recorded version with the best score."""
        self._rules = rules
        numbers = range(first_number, first_number + trials)
        self.requests = [Request(Side.CANDIDATE, task_id, number) for number in numbers for task_id in tasks]
        self.next_number = first_number  # its trials that promoted it are its score: this rule knows no better
        self._best = best

    def decide(self, seen: Seen) -> Decision | None:
        if any(request not in seen for request in self.requests):
            return None
        compared = self._compared(seen)
        rewards = [self._known(seen[one]) for one in compared]
        val_score, best, missing = mean(rewards), self._best_mean(compared), rewards.count(None)
        if missing or val_score is None or best is None:
            void = sum(seen[one] == VOID for one in compared)
            by_tau2 = f" ({void} of them by tau2 itself)" if void else ""
            reason = f"{missing} trials could not be evaluated{by_tau2}; the same command runs those again"
            return Decision(Verdict.UNDECIDED, [reason])
        better = val_score >= best - _ROUNDING
        reason = f"held-out mean {val_score:.4f} {'>=' if better else '<'} best {best:.4f}"
        return Decision(Verdict.ACCEPTED if better else Verdict.REJECTED, [reason])

    def follow(self) -> Following:
        return Following(self)

    def differences(self, seen: Seen) -> list[float]:
        pairs = [(self._known(seen.get(one)), self._best.get(one.task_id)) for one in self._compared(seen)]
        return [ours - (theirs or 0.0) for ours, theirs in pairs if ours is not None]

    def _known(self, reward: float | None) -> float | None:
        return (0.0 if self._rules else None) if reward == VOID else reward

    def _best_mean(self, compared: list[Request]) -> float | None:
        best = [self._best.get(one.task_id) for one in compared]
        return mean(reward or 0.0 for reward in best) if self._rules else mean(self._best.values())

    def _compared(self, seen: Seen) -> list[Request]:
        evaluated = [one for one in self.requests if self._best.get(one.task_id) is not None]
        if not self._rules:
            return evaluated
        return [one for one in self.requests if one in evaluated or seen.get(one) != VOID]
