"""pass^k and pass@k over repeated trials: the chance that k trials all pass, that one of k passes. Means over tasks.

A trial that infrastructure failed is neither a pass nor a failure. A task without an evaluated trial is left out of
every mean, and the lines count it. If another task has fewer than k evaluated trials, there is no pass^k at all:
without that task the mean would cover only tasks that happened to go well. tau2's own metrics do the same, since they
stop at the fewest trials that any task has; here the missing ones are named.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoharness.core.outcomes import Outcome, by_task, mean, passed

Json = dict[str, float | None]


@dataclass(frozen=True)
class Repeats:
    """How many trials of each task passed."""

    tasks: tuple[tuple[int, int], ...]
    """For each task with an evaluated trial: how many passed, and how many were evaluated."""
    trials: int
    """How many trials each task was to have."""
    without: int = 0
    """Tasks that have no evaluated trial."""

    @classmethod
    def of(cls, outcomes: Iterable[Outcome], trials: int) -> "Repeats":
        return cls.of_rewards(by_task((outcome.trial.task_id, outcome.reward) for outcome in outcomes), trials)

    @classmethod
    def of_rewards(cls, found: Mapping[Any, Sequence[float | None]], trials: int) -> "Repeats":
        """`found`: by task, the rewards of its trials."""
        counts = [
            (sum(map(passed, rewards)), sum(reward is not None for reward in rewards)) for rewards in found.values()
        ]
        tasks = tuple(count for count in counts if count[1])
        return cls(tasks, trials, len(counts) - len(tasks))

    def short_of(self, k: int) -> int:
        """How many tasks have an evaluated trial, but fewer than k."""
        return sum(evaluated < k for _, evaluated in self.tasks)

    def pass_hat(self, k: int) -> float | None:
        """pass^k as in Yao et al., tau-bench, 2024 (arXiv 2406.12045): the mean of C(c, k) / C(n, k) over the tasks,
        with c of n trials passed. None if a task has too few trials, or there is no task."""
        return None if self.short_of(k) else mean(pass_hat_k(c, n, k) for c, n in self.tasks)

    def pass_at(self, k: int) -> float | None:
        """pass@k as in Chen et al., 2021 (arXiv 2107.03374): the mean of 1 - C(n - c, k) / C(n, k). None as above."""
        return None if self.short_of(k) else mean(pass_at_k(c, n, k) for c, n in self.tasks)

    def to_json(self) -> Json:
        """Such as {"pass^1": 0.42, "pass^2": None, "pass@1": 0.42, "pass@2": None}; empty with a single trial."""
        ks = range(1, self.trials + 1) if self.trials > 1 else ()
        return {f"pass^{k}": self.pass_hat(k) for k in ks} | {f"pass@{k}": self.pass_at(k) for k in ks}

    @property
    def lines(self) -> list[str]:
        """Such as "pass^2: 0.2733  (50 tasks)"; none with a single trial."""
        return [f"{name}: {self._words(int(name[5:]), value)}" for name, value in self.to_json().items()]

    def _words(self, k: int, value: float | None) -> str:
        tasks = len(self.tasks) + self.without
        if short := self.short_of(k):
            return f"N/A  ({short} of {tasks} tasks have fewer than {k} evaluated trials)"
        if value is None:
            return "N/A  (no task was evaluated)"
        return f"{value:.4f}  ({f'{len(self.tasks)} of ' if self.without else ''}{tasks} tasks)"


def pass_hat_k(passed: int, trials: int, k: int) -> float:
    """pass^k of one task: the chance that k further trials all pass. Needs trials >= k.

    Source: Yao et al., tau-bench, 2024 (arXiv 2406.12045).
    """
    return math.comb(passed, k) / math.comb(trials, k)


def pass_at_k(passed: int, trials: int, k: int) -> float:
    """pass@k of one task: the chance that one of k trials passes. Needs trials >= k.

    Source: Chen et al., 2021 (arXiv 2107.03374).
    """
    return 1 - math.comb(trials - passed, k) / math.comb(trials, k)
