"""What a run may show. Tasks of the gate split are held out: whoever edits the agent must not learn from them.

    a whole held-out split   its mean and counts, no single results
    a part of one            nothing but that it was run
    other tasks              everything

This hides; it does not lock. The trials lie in the vault, which a process of the same account can read.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from autoharness.results import mean


@dataclass(frozen=True)
class Shown:
    """The part of a run's results that may be shown."""

    rewards: dict[str, float | None]
    """Single results."""
    scored: dict[str, float | None]
    """What the printed mean and counts are taken over; may include tasks whose single results stay hidden."""
    held_out: int
    """How many held-out tasks the run had."""
    withheld: int
    """How many of those count neither singly nor in the mean."""

    @property
    def val_score(self) -> float | None:
        return mean(self.scored.values())


def shown(rewards: Mapping[str, float | None], held_out: Collection[str], reveal: bool) -> Shown:
    """`held_out` are the ids of the whole held-out split; `reveal` is a person's --reveal-held-out."""
    touched = set(rewards) & set(held_out)
    open_rewards = {task_id: reward for task_id, reward in rewards.items() if task_id not in touched}
    if reveal or not touched:
        return Shown(dict(rewards), dict(rewards), len(touched), 0)
    if touched == set(held_out):
        return Shown(open_rewards, dict(rewards), len(touched), 0)
    return Shown(open_rewards, open_rewards, len(touched), len(touched))
