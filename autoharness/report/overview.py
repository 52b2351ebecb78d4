"""Collects what happened, as data: the page, the terminal and `--watch` each show parts of it.

Of held-out tasks it has means, counts and the gate's reasons: all of it may be shown.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from autoharness.gate.comparison import Comparison, Score
from autoharness.gate.gate_run import policy_of
from autoharness.loop.status import LOOP_LOCK, Note, noted
from autoharness.report.visible_trials import train_tasks
from autoharness.vault.iterations import Iteration, Iterations
from autoharness.vault.iterations import diff as unified_diff
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Confirmation, Gate, Version
from autoharness.vault.spending import Spent, spent, spent_by_iteration
from autoharness.vault.store import Store

UNDER_WAY = "under way"
_OF_THE_SUITE = ("suite ", "the regression suite ")


@dataclass(frozen=True)
class Attempt:
    """An edit that was tried, by the loop or by hand."""

    name: str
    """Such as "iteration 7", "iteration 7, by hand", or "by hand, gate 12": the number of its row in the ledger."""
    short: str
    """Such as "7", or "g12"."""
    incumbent: str
    """SHA-256 of the agent file that it was compared with."""
    agent: str = ""
    """SHA-256 of its own; empty if there is none."""
    end: str = UNDER_WAY
    reasons: Sequence[str] = ()
    iteration: Iteration | None = None
    gate: Gate | None = None
    version: Version | None = None
    """The version that it is now, if it was kept."""
    spent: Spent = field(default_factory=Spent)

    @property
    def idea(self) -> str:
        return self.iteration.idea if self.iteration else ""

    @property
    def why(self) -> str:
        """The reason that decided, which comes first; in older rows of held-out tasks it came after the suite's."""
        asked = self.gate is not None and self.gate.asked
        others = [reason for reason in self.reasons if not (asked and reason.startswith(_OF_THE_SUITE))]
        return next(iter(others), "")

    @cached_property
    def differences(self) -> list[float]:
        """Candidate minus incumbent, in the gate's pairs of trials; empty if no held-out task was run.

        The gate stopped when it knew enough: what it accepted looks better in them than it is, the rest worse.
        """
        return policy_of(self.gate).differences(self.gate.seen) if self.gate and self.gate.asked else []


@dataclass(frozen=True)
class Overview:
    """What happened under the newest settings identity in a vault. `ledger` has at least a baseline."""

    ledger: Ledger
    attempts: Sequence[Attempt]
    spent: Spent
    """By the loop, under other settings too; each of `attempts` has its own."""
    note: Note
    """Where the loop is."""
    running: bool
    """Whether it runs."""

    @classmethod
    def of(cls, store: Store) -> "Overview":
        """Raises UserError if there is no baseline, or the ledger is damaged."""
        ledger = Ledger(store)
        ledger.check_baseline()
        iterations = Iterations(store).all(ledger.measure)
        attempts = list(_attempts(ledger, iterations, spent_by_iteration(store)))
        return cls(ledger, attempts, spent(store), noted(store), store.is_locked(LOOP_LOCK))

    @cached_property
    def baseline(self) -> Version:
        return self.ledger.versions[0]

    @cached_property
    def best(self) -> Version:
        return self.ledger.best

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings of the newest row that has some."""
        return next(row.experiment for row in reversed(self.ledger.rows) if row.experiment)

    @cached_property
    def train(self) -> list[str]:
        """The tasks whose single results and conversations may be shown."""
        return train_tasks(self.ledger, [one.iteration for one in self.attempts if one.iteration])

    @property
    def trials(self) -> int:
        """How many trials of each task make a score."""
        return int(self.baseline.row.experiment.get("trials", 1))

    @property
    def gain(self) -> Comparison | None:
        """Baseline against best, by the scores of the gate; None if the baseline is the best."""
        if not self.best.iteration:
            return None
        return Comparison.of_scores(self.baseline.row.held_out, self.best.row.held_out)

    @property
    def confirmation(self) -> Confirmation | None:
        """The confirmation of the version that is the best one now."""
        rows = [row for row in self.ledger.rows if isinstance(row, Confirmation)]
        return next((row for row in reversed(rows) if row.agent == self.best.row.agent), None)

    @property
    def finished(self) -> list[Attempt]:
        return [one for one in self.attempts if one.end != UNDER_WAY]

    @property
    def kept_scores(self) -> list[tuple[int, float]]:
        """Number of attempts and score: of the baseline, and of each version that came to be kept."""
        points = [(0, self.baseline)]
        points += [(place, one.version) for place, one in enumerate(self.attempts, 1) if one.version]
        return [(place, version.row.val_score or 0.0) for place, version in points]

    @cached_property
    def names(self) -> dict[str, str]:
        """For each agent file (SHA-256) what first had it: a version, or such as "iteration 3 (refused)"."""
        names = {self.baseline.row.agent: self.baseline.name}
        for one in self.attempts:
            if one.agent:
                names.setdefault(one.agent, one.name if one.version else f"{one.name} ({one.end})")
        return names


def score_of(version: Version) -> Score | None:
    """The score of its held-out rewards; None if infrastructure lost them all."""
    rewards = [reward for reward in version.row.held_out.values() if reward is not None]
    return Score.of(rewards) if rewards else None


def change(store: Store, before: str, after: str) -> str:
    """A unified diff of two agent files (SHA-256). Raises UserError if one is gone."""
    return unified_diff(store.agent_source(before), store.agent_source(after)) if after else ""


def _attempts(ledger: Ledger, iterations: Sequence[Iteration], spending: dict[int, Spent]) -> Iterator[Attempt]:
    """In the order in which they were begun."""
    versions = {version.row.number: version for version in ledger.versions}
    gates = {gate.number: gate for gate in ledger.gates}
    of_the_loop = {(one.edit.agent, one.incumbent) for one in iterations if one.edit}
    by_hand = {
        (gate.agent, gate.incumbent): gate for gate in ledger.gates if (gate.agent, gate.incumbent) not in of_the_loop
    }
    begun: list[tuple[str, Attempt]] = []
    for one in iterations:
        gate = gates.get(one.gate)
        attempt = Attempt(
            name=f"iteration {one.number}",
            short=str(one.number),
            incumbent=one.incumbent,
            agent=one.edit.agent if one.edit else "",
            end=one.end if one.finished else UNDER_WAY,
            reasons=one.reasons,
            iteration=one,
            gate=gate,
            version=versions.get(gate.number) if gate else None,
            spent=spending.get(one.number, Spent()),
        )
        begun.append((one.started, attempt))
    loops, begun = begun, []
    for gate in by_hand.values():
        version = versions.get(gate.number)
        attempt = Attempt(
            name=f"{version.name}, by hand" if version else f"by hand, gate {gate.number}",
            short=str(version.iteration) if version else f"g{gate.number}",
            incumbent=gate.incumbent,
            agent=gate.agent,
            end=gate.verdict,
            reasons=gate.reasons,
            gate=gate,
            version=version,
        )
        begun.append((gate.time, attempt))
    both = [*_in_order(loops), *_in_order(begun)]
    yield from (attempt for _, attempt in sorted(both, key=lambda item: item[0]))


def _in_order(begun: list[tuple[str, Attempt]]) -> Iterator[tuple[str, Attempt]]:
    """With times that never go back, whatever the clock did: what is numbered keeps its order."""
    latest = ""
    for time, attempt in begun:
        latest = max(latest, time)
        yield latest, attempt
