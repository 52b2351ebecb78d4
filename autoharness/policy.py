"""The gate's rule: what evidence it looks at, and what it makes of it.

A policy is one class with one method. `Ratchet` is the usual rule: the regression suite holds, and the held-out mean
is at least the best ever recorded. Its weakness is known: the best of many noisy scores is a lucky one.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from autoharness.results import Rewards, mean, passed

_ROUNDING = 1e-9
"""Sums of the same numbers in another order differ by less."""


class Verdict(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Evidence:
    """What a policy decides from. Rewards by task; None where infrastructure kept a task from being evaluated."""

    suite: Rewards
    """The candidate's, in the regression suite."""
    threshold: float
    """The suite's pass rate must reach it."""
    held_out: Rewards
    """The candidate's."""
    best: Rewards
    """Those of the recorded version with the best score, in the same tasks."""


@dataclass(frozen=True)
class Decision:
    verdict: Verdict
    reasons: list[str]
    """One line for each thing that was looked at."""
    val_score: float | None
    """The candidate's held-out mean, over the tasks that could be evaluated for both."""
    best: float | None
    """The best version's, over the same tasks."""


class Policy(Protocol):
    def decide(self, evidence: Evidence) -> Decision: ...


class Ratchet:
    """Suite pass rate >= threshold, and held-out mean >= the best recorded one.

    A task that could not be evaluated for the best version leaves both sides. One that could not be evaluated for the
    candidate leaves the verdict open: or an agent that voids the tasks it fails would gain by it.
    """

    def decide(self, evidence: Evidence) -> Decision:
        common = [task_id for task_id, reward in evidence.best.items() if reward is not None]
        held_out = {task_id: evidence.held_out.get(task_id) for task_id in common}
        val_score, best = mean(held_out.values()), mean(evidence.best.values())
        missing = sum(reward is None for reward in [*held_out.values(), *evidence.suite.values()])
        if missing or val_score is None or best is None:
            reason = f"{missing} tasks could not be evaluated; the same command runs those again"
            return Decision(Verdict.UNDECIDED, [reason], val_score, best)
        suite_holds, suite_reason = _suite(evidence)
        better = val_score >= best - _ROUNDING
        reasons = [suite_reason, f"held-out mean {val_score:.4f} {'>=' if better else '<'} best {best:.4f}"]
        return Decision(Verdict.ACCEPTED if suite_holds and better else Verdict.REJECTED, reasons, val_score, best)


def _suite(evidence: Evidence) -> tuple[bool, str]:
    if not evidence.suite:
        return True, "the regression suite is empty"
    count = sum(map(passed, evidence.suite.values()))
    holds = count >= evidence.threshold * len(evidence.suite) - _ROUNDING
    rate = count / len(evidence.suite)
    compared = f"pass rate {rate:.2f} {'>=' if holds else '<'} threshold {evidence.threshold:.2f}"
    return holds, f"suite {count}/{len(evidence.suite)} passed, {compared}"
