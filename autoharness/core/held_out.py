"""Hides the results of held-out tasks: they must not teach anyone who edits the agent.

    a whole held-out split   its mean and counts, no single results
    a part of one            only that it was run; the same for any split that shares a task with it
    other tasks              everything

This hides; it does not lock. The trials lie in the vault, which a process of the same account can read.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from autoharness.core.outcomes import mean


@dataclass(frozen=True)
class Shown:
    """The part of a run's results that may be shown."""

    rewards: dict[str, float | None]
    """Single results."""
    scored: dict[str, float | None]
    """The rewards behind the printed mean and counts. Single results of held-out tasks among them stay hidden."""
    held_out: int
    """How many held-out tasks the run had."""
    withheld: int
    """How many of those are shown neither singly nor in the mean."""

    @property
    def val_score(self) -> float | None:
        return mean(self.scored.values())


def shown(rewards: Mapping[str, float | None], held_out: Collection[Collection[str]], reveal: bool) -> Shown:
    """`held_out` has the ids of each whole held-out split; `reveal` is a person's --reveal-held-out."""
    hidden = {task_id for split in held_out for task_id in split if task_id in rewards}
    if reveal:
        return Shown(dict(rewards), dict(rewards), len(hidden), 0)
    incomplete = _incomplete([set(split) for split in held_out], set(rewards))
    single = {task_id: reward for task_id, reward in rewards.items() if task_id not in hidden}
    scored = {task_id: reward for task_id, reward in rewards.items() if task_id not in incomplete}
    return Shown(single, scored, len(hidden), len(hidden & incomplete))


def _incomplete(held_out: list[set[str]], ran: set[str]) -> set[str]:
    """The tasks that must not be scored. Splits that share a task are treated alike: otherwise the means of two runs
    with overlapping splits would tell how a single task ended."""
    incomplete = {task_id for split in held_out if not split <= ran for task_id in split}
    while more := {task_id for split in held_out if split & incomplete for task_id in split} - incomplete:
        incomplete |= more
    return incomplete
