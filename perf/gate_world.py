"""The worlds of perf/gate_quality.py: tasks with their true pass rates, and edits that change them.

Real tasks differ: most are passed nearly never or nearly always, and an edit helps some of them and hurts others. The
pass rates come from published trials, the edits from the parameters of a `World`.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Rates = NDArray[np.float64]
"""One true pass rate for each task. Their mean is the quality of an agent; 0.01 of it is a point."""

# fmt: off
PASSED_OF_4 = np.array([
    0, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 1, 4, 2, 0, 2, 1, 1, 4, 0, 4, 3, 0, 0, 4,
    0, 2, 2, 0, 1, 2, 2, 0, 0, 3, 4, 4, 3, 4, 1, 3, 2, 4, 1, 2, 2, 2, 1, 4, 4,
])
# fmt: on
"""How many of four trials gpt-4o passed in each of the 50 airline tasks of the first tau-bench.

Source: sierra-research/tau-bench (MIT licence), historical_trajectories/gpt-4o-airline.json.
"""

_TRIALS = 4
_MOST_OF_THE_ROOM = 0.97
"""No edit takes a task all the way to 0 or 1."""


@dataclass(frozen=True)
class World:
    """What tasks and edits are like. Shares lie in [0, 1]; gains and losses are differences of mean pass rates."""

    neutral: float = 0.5
    """The share of edits that leave the mean where it is."""
    helpful: float = 0.2
    """The rest, 1 - neutral - helpful, does harm."""
    idle: float = 0.5
    """The share of neutral edits that truly change nothing; the others make some tasks better and some worse."""
    reshuffled: float = 0.05
    """The most that such an edit takes from some tasks, to give it to others."""
    loss_low: float = 0.02
    loss_high: float = 0.15
    gain_low: float = 0.03
    """Gains are those at the baseline: they shrink with the headroom that is left."""
    gain_high: float = 0.15
    touched_low: float = 0.2
    """The share of tasks that an edit touches at all."""
    touched_high: float = 0.7
    overlap: float = 0.0
    """0: every edit touches tasks anew; 1: the tasks that react to one edit react to all."""
    easier: float = 0.0
    """What is added to the log-odds of every task."""
    prior: float = 0.4
    """Added to passed and failed trials of a published count: the smaller, the more do tasks differ."""

    def tasks(self, generator: Generator, count: int) -> Rates:
        """True pass rates: each from a Beta distribution around one of the published counts."""
        passed = generator.choice(PASSED_OF_4, count)
        rates = generator.beta(passed + self.prior, _TRIALS - passed + self.prior)
        odds = np.exp(self.easier)
        return np.asarray(rates * odds / (1 - rates + rates * odds))

    def describe(self) -> str:
        return "  ".join(f"{field.name} {getattr(self, field.name):.3g}" for field in fields(self))


class Proposer:
    """Proposes edits, as good as the world allows."""

    def __init__(self, world: World, generator: Generator, baseline: Rates) -> None:
        self._world, self._generator = world, generator
        self._headroom = 1 - baseline.mean()
        self._reacts = generator.gamma(1.0, size=len(baseline))

    def edit(self, rates: Rates) -> Rates:
        world, generator = self._world, self._generator
        kind, size = generator.random(), generator.random()
        if kind < world.neutral * world.idle:
            return rates
        if kind < world.neutral:
            # the loss comes first: where a task has no room left, the edit as a whole loses a little, and never gains
            lost = self._shifted(rates, -size * world.reshuffled)
            return self._shifted(lost, rates.mean() - lost.mean())
        if kind < world.neutral + world.helpful:
            gain = world.gain_low + size * (world.gain_high - world.gain_low)
            return self._shifted(rates, gain * self.headroom_left(rates))
        return self._shifted(rates, -(world.loss_low + size * (world.loss_high - world.loss_low)))

    def headroom_left(self, rates: Rates) -> float:
        """1 at the baseline, 0 where every task is passed."""
        return float((1 - rates.mean()) / self._headroom)

    def _shifted(self, rates: Rates, change: float) -> Rates:
        """Moves the mean by `change`, spread unevenly: a task moves by a part of the room that it has."""
        weights = self._weights(len(rates))
        room = 1 - rates if change > 0 else rates
        reach = (weights * room).sum()
        if reach <= 0:
            return rates
        part = np.minimum(weights * (abs(change) * len(rates) / reach), _MOST_OF_THE_ROOM)
        return np.asarray(rates + np.sign(change) * part * room)

    def _weights(self, count: int) -> NDArray[np.float64]:
        world, generator = self._world, self._generator
        touched = generator.random(count) < generator.uniform(world.touched_low, world.touched_high)
        touched[generator.integers(count)] = True
        fresh = generator.gamma(1.0, size=count)
        return np.asarray(touched * ((1 - world.overlap) * fresh + world.overlap * self._reacts))


class Simulator:
    """Runs trials: a reward of 0 or 1 for each task, with its true pass rate."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    def run(self, rates: Rates, trials: int) -> NDArray[np.bool_]:
        """Shape (trials, tasks)."""
        return self._generator.random((trials, len(rates))) < rates

    def orders(self, tasks: int, trials: int) -> NDArray[np.int64]:
        """For each trial its own random order of the tasks; shape (trials, tasks)."""
        return self._generator.permuted(np.tile(np.arange(tasks), (trials, 1)), axis=1)


def second() -> World:
    """A world nobody looked at before the rule was frozen: its parameters are drawn, from a fixed seed.

    Seed 20261121 was looked at, and then the rule was given all of the incumbent's trials; this is the next draw.
    """
    draw = np.random.default_rng(20261122).uniform
    neutral, touched = draw(0.40, 0.75), draw(0.05, 0.30)
    return World(
        neutral=neutral,
        helpful=min(draw(0.08, 0.30), 1 - neutral),
        idle=draw(0.2, 0.8),
        reshuffled=draw(0.02, 0.10),
        loss_low=draw(0.01, 0.03),
        loss_high=draw(0.08, 0.25),
        gain_low=draw(0.02, 0.04),
        gain_high=draw(0.08, 0.20),
        touched_low=touched,
        touched_high=touched + draw(0.2, 0.5),
        overlap=draw(0.0, 1.0),
        easier=draw(-1.0, 1.0),
        prior=draw(0.2, 1.0),
    )


WORLDS = {"first": World(), "second": second(), "hopeless": World(neutral=0.6, helpful=0.0)}
