"""The regression suite: train tasks that an earlier edit fixed, and when their failures veto an edit.

A task comes in after it passed every one of `PROMOTION_TRIALS` trials, and keeps a record of its own from then on.
An agent that did not change fails such a task now and then, so one failure proves nothing: the suite vetoes an edit
only if its failures are more than the records explain. A task that fails under an unchanged agent is quarantined.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from autoharness.core.outcomes import Rewards, passed
from autoharness.core.stats import at_least
from autoharness.vault.ledger_rows import SuiteRecord

PROMOTION_TRIALS = 3
LEVEL = 0.05
"""An edit that breaks nothing is vetoed no more often than this, if the records are right."""

_ROUNDING = 1e-9


@dataclass(frozen=True)
class SuiteVerdict:
    holds: bool | None
    """None if missing results could change it."""
    reason: str


def floor(results: Rewards, threshold: float) -> SuiteVerdict:
    """The reference's rule: the pass rate reaches the threshold."""
    if not results:
        return SuiteVerdict(True, "the regression suite is empty")
    if None in results.values():
        return _open(results)
    count = sum(map(passed, results.values()))
    holds = count >= threshold * len(results) - _ROUNDING
    compared = f"pass rate {count / len(results):.2f} {'>=' if holds else '<'} threshold {threshold:.2f}"
    return SuiteVerdict(holds, f"suite {count}/{len(results)} passed, {compared}")


def veto(results: Rewards, records: Mapping[str, SuiteRecord]) -> SuiteVerdict:
    """A one-sided exact test of the number of failures against the tasks' own failure rates.

    A lost trial may yet be a pass or a failure; if that matters, the answer is open.
    """
    if not results:
        return SuiteVerdict(True, "the regression suite is empty")
    rates = [records[task_id].failure_rate for task_id in results]
    failed = sum(reward is not None and not passed(reward) for reward in results.values())
    lost = sum(reward is None for reward in results.values())
    at_best, at_worst = at_least(failed, rates), at_least(failed + lost, rates)
    if at_best > LEVEL >= at_worst:
        return _open(results)
    holds = at_best > LEVEL
    explained = f"failures like these have probability {at_best:.2g} in an edit that breaks nothing"
    return SuiteVerdict(holds, f"suite {len(results) - failed - lost}/{len(results)} passed: {explained}")


def veto_after_checks(results: Rewards, checks: Rewards, records: Mapping[str, SuiteRecord]) -> SuiteVerdict:
    """`checks`: one more trial each of the unchanged incumbent. What it fails too is flaky and leaves the test.

    A check that was lost may be a pass or a failure.
    """
    found = [_after_checks(results, _completed(checks, reward), records) for reward in (0.0, 1.0)]
    return found[0] if found[0].holds == found[1].holds else _open(checks)


def _completed(checks: Rewards, reward: float) -> dict[str, float]:
    return {task_id: reward if known is None else known for task_id, known in checks.items()}


def _after_checks(results: Rewards, checks: Mapping[str, float], records: Mapping[str, SuiteRecord]) -> SuiteVerdict:
    steady = {task_id: reward for task_id, reward in results.items() if passed(checks.get(task_id, 1.0))}
    return veto(steady, {**records, **{task_id: records[task_id] + reward for task_id, reward in checks.items()}})


def _open(results: Rewards) -> SuiteVerdict:
    lost = sum(reward is None for reward in results.values())
    return SuiteVerdict(None, f"{lost} of {len(results)} suite tasks could not be evaluated")
