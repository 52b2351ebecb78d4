"""The gate's rule: which trials it asks for, and what it makes of their rewards.

A policy says which trials it may need, in the order in which it wants them, and after each one whether it has seen
enough. `Sequential` is the default. `Ratchet` is the usual rule: the held-out mean is at least the best ever
recorded. Its weakness is known: the best of many noisy scores is a lucky one.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from types import MappingProxyType
from typing import Protocol

from autoharness.results import Rewards, mean
from autoharness.sequential import bar, detectable_gain, operating_point, walk
from autoharness.stats import in_points

_ROUNDING = 1e-9
"""Sums of the same numbers in another order differ by less."""
_FEW_LOST, _MOST_LOST = 3, 0.2
"""Lost trials that a question may have whatever its size, and the share of its trials."""


class Verdict(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNDECIDED = "undecided"


class Side(StrEnum):
    CANDIDATE = "candidate"
    INCUMBENT = "incumbent"


@dataclass(frozen=True)
class Request:
    """One trial that a policy may need."""

    side: Side
    task_id: str
    number: int
    """Of the trial: both sides' trials with the same number have the same seed."""


VOID = -1.0
"""Stands for a reward where tau2 itself cannot evaluate the task."""
Seen = Mapping[Request, float | None]
"""The rewards so far, or VOID; None where infrastructure failed; what was not run is not in it."""


@dataclass(frozen=True)
class Decision:
    verdict: Verdict
    reasons: list[str]
    """One line for each thing that was looked at."""


class Policy(Protocol):
    requests: list[Request]
    """Every trial that may be needed, in the order in which to run them."""

    def decide(self, seen: Seen) -> Decision | None:
        """None while it depends on trials that were not run yet."""

    next_number: int
    """Of the candidate's first trial that can have no part in the verdict."""

    def differences(self, seen: Seen) -> list[float]:
        """Candidate minus incumbent, in each pair that the verdict rests on."""


class Sequential:
    """Candidate against incumbent, pair by pair, until no outcome that is still unknown could change the verdict.

    A pair is one trial of the candidate and the mean of the incumbent's trials of the same task: all those that
    earlier questions have bought, and always one more than the candidate has, so that no single lucky one decides.
    Those that promoted it were lucky, and do not count.

    An outcome that infrastructure kept from us is unknown as well: both verdicts must agree about it, or there is
    none. So an agent cannot gain by voiding the trials that it fails. A task that tau2 cannot evaluate for the
    incumbent leaves both sides.
    """

    def __init__(
        self,
        tasks: list[str],
        first_number: int,
        max_trials: int,
        questions: int,
        order: str,
        bought: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """`first_number`: the incumbent's first trial that had no part in promoting it. `questions`: those since
        then. `order`: seeds the order of the tasks. `bought`: how many of the incumbent's trials there are by task.
        """
        self.bar = bar(questions)
        self.next_number = first_number + max_trials
        self._first, self._max_trials, self._bought = first_number, max_trials, bought
        self._pairs = [
            Request(Side.CANDIDATE, task_id, first_number + trial)
            for trial in range(max_trials)
            for task_id in random.Random(f"{order} {trial}").sample(tasks, len(tasks))
        ]
        wanted = (request for pair in self._pairs for request in (pair, *self._opponents(pair)))
        self.requests = list(dict.fromkeys(wanted))

    def decide(self, seen: Seen) -> Decision | None:
        accepted_at_worst, pairs = walk((low for low, _ in self._differences(seen)), self.bar)
        accepted_at_best, _ = walk((high for _, high in self._differences(seen)), self.bar)
        if accepted_at_worst == accepted_at_best:
            return Decision(Verdict.ACCEPTED if accepted_at_worst else Verdict.REJECTED, self._reasons(seen, pairs))
        if _too_many_lost(seen) or len(seen) == len(self.requests):
            return Decision(Verdict.UNDECIDED, self._reasons(seen, len(self._pairs)))
        return None

    def differences(self, seen: Seen) -> list[float]:
        _, pairs = walk((low for low, _ in self._differences(seen)), self.bar)
        return self._settled(seen, pairs)

    def _opponents(self, pair: Request) -> list[Request]:
        """The incumbent's trials that the candidate's is compared with."""
        wanted = max(pair.number - self._first + 2, self._bought.get(pair.task_id, 0))
        numbers = range(self._first, self._first + min(wanted, max(2, self._max_trials)))
        return [Request(Side.INCUMBENT, pair.task_id, number) for number in numbers]

    def _differences(self, seen: Seen) -> Iterator[tuple[float, float]]:
        """The least and the greatest difference that each pair can turn out to have."""
        for pair in self._pairs:
            opponents = self._opponents(pair)
            rewards = [reward for one in opponents if (reward := _known(seen.get(one))) is not None]
            unknown = sum(seen.get(one) is None for one in opponents)
            trials = len(rewards) + unknown
            if not trials:
                yield 0.0, 0.0
                continue
            reward = _known(seen.get(pair))
            at_worst, at_best = (0.0, 1.0) if reward is None else (reward, reward)
            yield at_worst - (sum(rewards) + unknown) / trials, at_best - sum(rewards) / trials

    def _settled(self, seen: Seen, pairs: int) -> list[float]:
        """`pairs`: where the walk ended. What was in flight then is no part of it."""
        return [low for low, high in islice(self._differences(seen), pairs) if low == high]

    def _reasons(self, seen: Seen, pairs: int) -> list[str]:
        known = self._settled(seen, pairs)
        lost = sum(reward is None for reward in seen.values())
        lines = [f"{sum(known):+.1f} tasks ahead after {len(known)} pairs of trials; accepted at {self.bar:+.1f}"]
        if known:
            lines += [f"difference {in_points(known)}", self._power(known)]
        lines += self._void(seen)
        if lost:
            lines.append(f"{lost} trials could not be evaluated; the same command runs those again")
        return lines

    def _void(self, seen: Seen) -> list[str]:
        """What became of the trials that tau2 itself cannot evaluate."""
        void = {one for one, reward in seen.items() if reward == VOID}
        left = {pair.task_id for pair in self._pairs if void.issuperset(self._opponents(pair))}
        open_ = sum(one.side == Side.CANDIDATE and one.task_id not in left for one in void)
        lines = [f"{len(void)} trials are void, tau2 itself cannot evaluate them"] if void else []
        if left:
            lines.append(f"{len(left)} tasks leave both sides where the incumbent's trials are void: equal pairs")
        if open_:
            lines.append(f"{open_} trials are void for the candidate alone: they may be a pass or a failure")
        return lines

    def _power(self, known: list[float]) -> str:
        """What this question could tell apart."""
        differing = max(0.05, mean(abs(difference) for difference in known) or 0.0)
        gain = detectable_gain(self.bar, len(self._pairs), differing)
        neutral, _ = operating_point(self.bar, len(self._pairs), differing, 0.0)
        found = "no gain" if gain is None else f"a gain of {100 * gain:.1f} points"
        nothing = f"an edit that changes nothing is accepted with probability {neutral:.2f}"
        return f"at this noise {nothing}, and {found} 4 times in 5"


def _known(reward: float | None) -> float | None:
    """The reward; None where there is none, VOID too."""
    return None if reward == VOID else reward


def _too_many_lost(seen: Seen) -> bool:
    """Whether so much infrastructure failed that going on would only pay for more of it."""
    lost = sum(reward is None for reward in seen.values())
    return lost > max(_FEW_LOST, _MOST_LOST * len(seen))


class Ratchet:
    """Held-out mean >= the best recorded one.

    A task that could not be evaluated for the best version leaves both sides. One that could not be evaluated for the
    candidate leaves the verdict open: or an agent that voids the tasks it fails would gain by it.
    """

    def __init__(self, tasks: list[str], first_number: int, trials: int, best: Rewards) -> None:
        """`best`: the rewards of the recorded version with the best score."""
        numbers = range(first_number, first_number + trials)
        self.requests = [Request(Side.CANDIDATE, task_id, number) for number in numbers for task_id in tasks]
        self.next_number = first_number  # its trials that promoted it are its score: this rule knows no better
        self._best = best

    def decide(self, seen: Seen) -> Decision | None:
        if any(request not in seen for request in self.requests):
            return None
        compared = self._compared
        rewards = [_known(seen[one]) for one in compared]
        val_score, best, missing = mean(rewards), mean(self._best.values()), rewards.count(None)
        if missing or val_score is None or best is None:
            void = sum(seen[one] == VOID for one in compared)
            by_tau2 = f" ({void} of them by tau2 itself)" if void else ""
            reason = f"{missing} trials could not be evaluated{by_tau2}; the same command runs those again"
            return Decision(Verdict.UNDECIDED, [reason])
        better = val_score >= best - _ROUNDING
        reason = f"held-out mean {val_score:.4f} {'>=' if better else '<'} best {best:.4f}"
        return Decision(Verdict.ACCEPTED if better else Verdict.REJECTED, [reason])

    def differences(self, seen: Seen) -> list[float]:
        pairs = [(_known(seen.get(one)), self._best[one.task_id]) for one in self._compared]
        return [ours - theirs for ours, theirs in pairs if ours is not None and theirs is not None]

    @property
    def _compared(self) -> list[Request]:
        return [one for one in self.requests if self._best.get(one.task_id) is not None]
