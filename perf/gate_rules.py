"""The rules that perf/gate_quality.py compares: the default of this project and those of its peers.

Each is one class: `start` evaluates the baseline, `gate` decides about one candidate; both say how many simulations
they cost. A peer's rule is written from its published description, and keeps its incumbent's promoting trials as the
peer does; tests/gate/test_gate_rules.py checks each against two verdicts that were worked out by hand.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autoharness.gate.sequential_test import bar, walk
from perf.gate_world import Rates, Simulator

_ROUNDING = 1e-9


class Gate(NamedTuple):
    accepted: bool
    simulations: int
    """All that the gate cost, the trials that an acceptance calls for among them."""


class Counts(NamedTuple):
    """The trials of one version, by task."""

    passed: NDArray[np.int64]
    trials: NDArray[np.int64]

    @property
    def means(self) -> NDArray[np.float64]:
        return np.asarray(self.passed / self.trials)


class Rule(ABC):
    has_headline = False
    """Whether the final version is evaluated once more, in trials that no verdict saw."""
    val_score = math.nan
    """What the rule reports for its incumbent."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    @abstractmethod
    def start(self, baseline: Rates) -> int: ...

    @abstractmethod
    def gate(self, candidate: Rates) -> Gate: ...


class Default(Rule):
    """The walk of autoharness/gate/sequential_test.py over pairs of trials (docs/gate.md).

    The switches are for the ablation. `rising`: the bar rises with the questions; `score_counts`: the incumbent's
    score trial is evidence in later gates; `promoting_count`: so are the trials that it was accepted with, and no
    fresh one is bought; `headline`: the final version is evaluated once more.
    """

    TRIALS = 8
    """The most a candidate gets in a task, and the most of the incumbent's that it is compared with."""
    IN_FLIGHT = 4
    """Pairs that are already running when the walk ends: they are paid for."""

    def __init__(
        self,
        simulator: Simulator,
        *,
        rising: bool = True,
        score_counts: bool = True,
        promoting_count: bool = False,
        headline: bool = True,
    ) -> None:
        super().__init__(simulator)
        self.has_headline = headline
        self._rising, self._score_counts, self._promoting_count = rising, score_counts, promoting_count

    def start(self, baseline: Rates) -> int:
        self._questions = 0
        self._trials = self._simulator.run(baseline, self.TRIALS)
        score = self._trials[0] if self._score_counts else self._simulator.run(baseline, 1)[0]
        self.val_score = float(score.mean())
        self._bought = np.full(len(baseline), 1 if self._score_counts else 0)
        self._refer()
        return len(baseline)

    def gate(self, candidate: Rates) -> Gate:
        tasks = len(candidate)
        orders = self._simulator.orders(tasks, self.TRIALS)
        rewards = self._simulator.run(candidate, self.TRIALS)
        accepted, pairs = walk(self._differences(rewards, orders), bar(self._questions if self._rising else 0))
        paid = min(pairs + self.IN_FLIGHT, tasks * self.TRIALS)
        simulations = paid + self._buy(orders, paid)
        self._questions += 1
        if accepted:
            simulations += self._promote(candidate, rewards, orders, paid)
        return Gate(accepted, simulations)

    def _refer(self) -> None:
        """The mean of each task's first n trials of the incumbent, in row n - 1."""
        self._references = np.cumsum(self._trials, axis=0) / np.arange(1, self.TRIALS + 1)[:, None]

    def _differences(self, rewards: NDArray[np.bool_], orders: NDArray[np.int64]) -> Iterator[float]:
        """A candidate's trial t minus the mean of the incumbent's trials: all there are, and at least 0 to t + 1."""
        bought = self._bought.copy()
        for trial, order in enumerate(orders):
            compared = np.maximum(bought, self._wanted(trial))
            references = self._references[compared - 1, np.arange(len(bought))]
            yield from (rewards[trial] - references)[order].tolist()

    def _wanted(self, trial: int) -> int:
        return min(trial + 2, self.TRIALS)

    def _buy(self, orders: NDArray[np.int64], paid: int) -> int:
        """The incumbent's trials that the pairs need and that are not there yet; they stay for later gates."""
        before = int(self._bought.sum())
        for trial, visited in enumerate(_visited(orders, paid)):
            self._bought[visited] = np.maximum(self._bought[visited], self._wanted(trial))
        return int(self._bought.sum()) - before

    def _promote(self, candidate: Rates, rewards: NDArray[np.bool_], orders: NDArray[np.int64], paid: int) -> int:
        simulations = self.start(candidate)
        if not self._promoting_count:
            return simulations
        seen = np.zeros(len(candidate), int)
        for trial, visited in enumerate(_visited(orders, paid)):
            self._trials[trial, visited] = rewards[trial, visited]
            seen[visited] += 1
        self.val_score = float(self._trials[0].mean())
        self._bought = np.maximum(seen, 1)
        self._refer()
        return int((seen == 0).sum())


def _visited(orders: NDArray[np.int64], paid: int) -> Iterator[NDArray[np.int64]]:
    """The tasks of the first `paid` pairs, trial by trial."""
    tasks = orders.shape[1]
    for trial in range(math.ceil(paid / tasks)):
        yield orders[trial, : paid - trial * tasks]


class Stored(Rule):
    """A rule of fixed size: the candidate's trials against those that the incumbent was accepted with."""

    def __init__(self, simulator: Simulator, trials: int) -> None:
        super().__init__(simulator)
        self.trials = trials

    def start(self, baseline: Rates) -> int:
        return self._promote(self._evaluate(baseline))

    def gate(self, candidate: Rates) -> Gate:
        counts = self._evaluate(candidate)
        simulations, accepted = int(counts.trials.sum()), self.accepts(counts, self._incumbent)
        if accepted:
            self._promote(counts)
        return Gate(accepted, simulations)

    @abstractmethod
    def accepts(self, candidate: Counts, incumbent: Counts) -> bool: ...

    def _evaluate(self, rates: Rates) -> Counts:
        rewards = self._simulator.run(rates, self.trials)
        return Counts(rewards.sum(axis=0), np.full(len(rates), self.trials))

    def _promote(self, counts: Counts) -> int:
        self._incumbent, self.val_score = counts, float(counts.means.mean())
        return int(counts.trials.sum())


class Ratchet(Stored):
    """One trial; accepted if the mean is at least the best ever seen (neosigmaai/auto-harness)."""

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(simulator, trials=1)

    def accepts(self, candidate: Counts, incumbent: Counts) -> bool:
        return bool(candidate.means.mean() >= incumbent.means.mean() - _ROUNDING)


class StandardErrors(Stored):
    """Accepted if the mean of the tasks' differences exceeds k standard errors (skillberry-ai/cap-evolve).

    Newer versions widen k by a factor that follows Student's t: 1.03 with 20 tasks, less with more; left out here.
    """

    def __init__(self, simulator: Simulator, k: float, trials: int) -> None:
        super().__init__(simulator, trials)
        self.k = k

    def accepts(self, candidate: Counts, incumbent: Counts) -> bool:
        differences = candidate.means - incumbent.means
        error = differences.std(ddof=1) / math.sqrt(len(differences))
        return bool(differences.mean() > self.k * error + _ROUNDING)


class MantelHaenszel(Stored):
    """Accepted if the one-sided Cochran-Mantel-Haenszel test, a stratum for each task, says p <= 0.10.

    Normal approximation, no continuity correction (workofart/harness-experiment). Source of the test: Mantel and
    Haenszel, Journal of the National Cancer Institute 22 (1959), 719-748.
    """

    ALPHA = 0.10

    def accepts(self, candidate: Counts, incumbent: Counts) -> bool:
        passed, trials = candidate.passed + incumbent.passed, candidate.trials + incumbent.trials
        ahead = float((candidate.passed - candidate.trials * passed / trials).sum())
        arms = candidate.trials * incumbent.trials
        variance = float((arms * passed * (trials - passed) / (trials**2 * (trials - 1))).sum())
        return ahead > _ROUNDING and math.erfc(ahead / math.sqrt(2 * variance)) / 2 <= self.ALPHA


class MajorityMantelHaenszel(MantelHaenszel):
    """The same with five trials, of which a task gets no more once most of them are passed or failed for certain.

    Both arms are stopped so, which pulls a task's mean towards 0 or 1; the figures reported are those means.
    """

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(simulator, trials=5)

    def _evaluate(self, rates: Rates) -> Counts:
        return until_majority(self._simulator.run(rates, self.trials))


def until_majority(rewards: NDArray[np.bool_]) -> Counts:
    """`rewards`: shape (trials, tasks), an odd number of trials."""
    majority = len(rewards) // 2 + 1
    passed = np.cumsum(rewards, axis=0)
    failed = np.cumsum(~rewards, axis=0)
    last = np.argmax((passed == majority) | (failed == majority), axis=0)
    return Counts(passed[last, np.arange(rewards.shape[1])], last + 1)


class EProcess(Rule):
    """Accepted once the evidence in favour reaches 20; rejected when the trials are used up (PACE, arXiv 2606.08106).

    Only pairs that differ count: a bet of half the stake on the candidate. The candidate's trials are compared with
    stored ones of the incumbent, bought once; after an acceptance the candidate's own are completed and stored. How
    many trials a candidate gets is not published: 3 and 8 are this benchmark's choice. Nothing is charged for pairs
    in flight.
    """

    ENOUGH = 20.0
    BET = 0.5

    def __init__(self, simulator: Simulator, trials: int) -> None:
        super().__init__(simulator)
        self.trials = trials

    def start(self, baseline: Rates) -> int:
        return self._keep(self._simulator.run(baseline, self.trials))

    def gate(self, candidate: Rates) -> Gate:
        rewards = self._simulator.run(candidate, self.trials)
        order = self._simulator.orders(len(candidate), self.trials)
        ahead = np.take_along_axis(rewards.astype(int) - self._rewards, order, axis=1).ravel()
        accepted, pairs = e_process(ahead)
        # an acceptance buys what the candidate still lacks of its trials: in both cases each is paid for once
        return Gate(accepted, self._keep(rewards) if accepted else pairs)

    def _keep(self, rewards: NDArray[np.bool_]) -> int:
        self._rewards, self.val_score = rewards.astype(int), float(rewards.mean())
        return rewards.size


def e_process(ahead: NDArray[np.int64]) -> tuple[bool, int]:
    """Whether it commits, and after how many pairs. `ahead`: candidate minus incumbent, in {-1, 0, 1}."""
    evidence = np.cumsum(np.log1p(EProcess.BET * ahead))
    enough = evidence >= math.log(EProcess.ENOUGH) - _ROUNDING
    return bool(enough.any()), int(enough.argmax()) + 1 if enough.any() else len(ahead)


Make = Callable[[Simulator], Rule]

RULES: dict[str, Make] = {
    "default": Default,
    "ratchet": Ratchet,
    "1 SE, 1 trial": partial(StandardErrors, k=1.0, trials=1),
    "0.2 SE, 1 trial": partial(StandardErrors, k=0.2, trials=1),
    "1 SE, 3 trials": partial(StandardErrors, k=1.0, trials=3),
    "0.2 SE, 3 trials": partial(StandardErrors, k=0.2, trials=3),
    "CMH, 3 trials": partial(MantelHaenszel, trials=3),
    "CMH, majority of 5": MajorityMantelHaenszel,
    "PACE, 3 trials": partial(EProcess, trials=3),
    "PACE, 8 trials": partial(EProcess, trials=8),
}

FIXED_SIZE = [name for name in RULES if name != "default" and not name.startswith("PACE")]
"""The rules that buy the same trials for every candidate, or nearly."""

ABLATION: dict[str, Make] = {
    "bar does not rise": partial(Default, rising=False),
    "promoting trials count": partial(Default, promoting_count=True),
    "score trial is no evidence": partial(Default, score_counts=False),
    "no headline": partial(Default, headline=False),
}
"""The default with one thing changed."""
