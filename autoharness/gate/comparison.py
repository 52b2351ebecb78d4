"""Compares two versions on the same held-out tasks. Counts and means alone: which tasks they are stays hidden."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from autoharness.core.outcomes import Rewards, by_task, known_fields, passed
from autoharness.core.settings import Experiment
from autoharness.core.stats import (
    Dependence,
    dependence,
    difference_interval,
    in_points,
    mean_interval,
    sign_test,
    widened,
)
from autoharness.vault.ledger_rows import Confirmation, Look, Side

TaskRewards = Mapping[str, Sequence[float]]
"""By task: the rewards of its trials."""


@dataclass(frozen=True)
class Score:
    """A mean reward over tasks, with its 95 % interval."""

    mean: float
    low: float
    high: float
    passed: int
    tasks: int

    @classmethod
    def of(cls, rewards: Sequence[float]) -> "Score":
        """`rewards`: one for each task, at least one."""
        return cls(fmean(rewards), *mean_interval(rewards), sum(map(passed, rewards)), len(rewards))


@dataclass(frozen=True)
class Comparison:
    """`before` and `after` have the rewards of the same tasks, in the same order."""

    before: Sequence[float]
    after: Sequence[float]
    by_trial: tuple[float, ...] = ()
    """The mean difference in each trial, if its tasks may share their luck."""

    @classmethod
    def of(cls, one: Rewards, other: Rewards) -> "Comparison | None":
        """Over the tasks that could be evaluated for both; None if there are none."""
        pairs = [(one[task_id], other.get(task_id)) for task_id in one]
        both = [(a, b) for a, b in pairs if a is not None and b is not None]
        return cls([a for a, _ in both], [b for _, b in both]) if both else None

    @classmethod
    def of_scores(cls, one: Rewards, other: Rewards) -> "Comparison | None":
        """Over held-out scores: a task that tau2 could evaluate for one version alone counts 0 for the other."""
        pairs = [(one[task_id], other.get(task_id)) for task_id in one]
        known = [(a or 0.0, b or 0.0) for a, b in pairs if a is not None or b is not None]
        return cls([a for a, _ in known], [b for _, b in known]) if known else None

    @classmethod
    def confirmed_by(cls, row: Confirmation) -> "Comparison | None":
        """Baseline against best, each task's mean over its trials; None if tau2 could not evaluate too many tasks."""
        if row.rules and len(left_out(row)) > _MOST_LEFT_OUT * len(row.tasks):
            return None
        before, after = sides_of(row)
        means = [(fmean(before[task_id]), fmean(after[task_id])) for task_id in before]
        return cls([a for a, _ in means], [b for _, b in means], _means_by_trial(row)) if means else None

    @property
    def tasks(self) -> int:
        return len(self.before)

    @property
    def differences(self) -> list[float]:
        return [b - a for a, b in zip(self.before, self.after, strict=True)]

    @property
    def difference(self) -> float:
        return fmean(self.differences)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the difference; wider if the tasks of a trial may share their luck."""
        interval = difference_interval(self.differences)
        return widened(interval, self.by_trial) if self.by_trial else interval

    @property
    def better(self) -> int:
        return sum(difference > 0 for difference in self.differences)

    @property
    def worse(self) -> int:
        return sum(difference < 0 for difference in self.differences)

    @property
    def passed_by_both(self) -> int:
        return sum(passed(a) and passed(b) for a, b in zip(self.before, self.after, strict=True))

    @property
    def p_value(self) -> float:
        """The p-value of the exact sign test, two-sided."""
        return sign_test(self.better, self.worse)

    @property
    def points(self) -> str:
        return in_points(self.difference, self.interval)


_MOST_LEFT_OUT = 0.1
"""The largest share of tasks that a confirmed result may leave out."""


def left_out(row: Confirmation) -> list[str]:
    """The tasks of a confirmation that tau2 could not evaluate; under older rules, not for both versions."""
    if not row.rules:
        return sorted({look.task_id for look in row.looks if look.void})
    evaluated = {look.task_id for look in row.looks if look.reward is not None}
    return [task_id for task_id in row.tasks if task_id not in evaluated]


def sides_of(row: Confirmation) -> tuple[TaskRewards, TaskRewards]:
    """The trials of baseline and best. One that tau2 itself could not score counts 0, if its task is not left out."""
    out = set(left_out(row))
    looks = [look for look in row.looks if look.task_id not in out]
    looks.sort(key=lambda look: look.number)
    before, after = (_rewards(looks, side) for side in (Side.INCUMBENT, Side.CANDIDATE))
    return before, after


def dependence_of(row: Confirmation) -> Dependence | None:
    """How far the differences of one trial's tasks share their luck; None if that cannot be told."""
    return dependence(_differences(row))


def _means_by_trial(row: Confirmation) -> tuple[float, ...]:
    """The mean difference in each trial; empty if its tasks are independent, as far as can be told.

    A test alone would miss half of what matters: with few trials it has little power.
    """
    seen = dependence_of(row)
    asked = Experiment(**known_fields(Experiment, row.experiment))
    if not (seen and seen.is_seen) and not asked.shares_seeds:
        return ()
    return tuple(fmean(one) for one in zip(*_differences(row), strict=True))


def _differences(row: Confirmation) -> list[list[float]]:
    """Best minus baseline, by task and trial; empty if one of them is missing."""
    before, after = sides_of(row)
    if len({len(some) for some in (*before.values(), *after.values())}) != 1:
        return []
    pairs = ((before[task_id], after[task_id]) for task_id in before)
    return [[b - a for a, b in zip(*both, strict=True)] for both in pairs]


def _rewards(looks: Sequence[Look], side: str) -> TaskRewards:
    known = ((look, 0.0 if look.void else look.reward) for look in looks if look.side == side)
    return by_task((look.task_id, reward) for look, reward in known if reward is not None)
