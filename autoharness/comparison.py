"""Two versions in the same held-out tasks. Counts and means alone: which tasks they are stays hidden."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from autoharness.ledger import Confirmation, Look
from autoharness.policy import Side
from autoharness.results import Rewards, by_task, passed
from autoharness.stats import difference_interval, in_points, mean_interval, sign_test

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

    @classmethod
    def of(cls, one: Rewards, other: Rewards) -> "Comparison | None":
        """Over the tasks that could be evaluated for both; None where there are none."""
        pairs = [(one[task_id], other.get(task_id)) for task_id in one]
        both = [(a, b) for a, b in pairs if a is not None and b is not None]
        return cls([a for a, _ in both], [b for _, b in both]) if both else None

    @classmethod
    def confirmed_by(cls, row: Confirmation) -> "Comparison | None":
        """Baseline against best, each task's mean over its trials; None where tau2 could not evaluate one."""
        before, after = sides_of(row)
        means = [(fmean(before[task_id]), fmean(after[task_id])) for task_id in before]
        return cls([a for a, _ in means], [b for _, b in means]) if means else None

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
        """Of the difference, 95 %."""
        return difference_interval(self.differences)

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
        """Of the exact sign test, two-sided."""
        return sign_test(self.better, self.worse)

    @property
    def points(self) -> str:
        return in_points(self.differences)


def sides_of(row: Confirmation) -> tuple[TaskRewards, TaskRewards]:
    """The trials of baseline and best; what tau2 cannot evaluate leaves both sides."""
    void = {look.task_id for look in row.looks if look.void}
    looks = [look for look in row.looks if look.task_id not in void]
    before, after = (_rewards(looks, side) for side in (Side.INCUMBENT, Side.CANDIDATE))
    return before, after


def _rewards(looks: Sequence[Look], side: str) -> TaskRewards:
    return by_task((look.task_id, look.reward) for look in looks if look.side == side and look.reward is not None)
