"""The rows of the ledger, and the words that they are written in.

    Baseline   the first version: its train and held-out rewards
    Gate       one question: candidate against incumbent, every trial that was looked at, the verdict
    Record     that the candidate of a gate is a version now, and its commit
    Confirmation  baseline against best on trials that no verdict had looked at
    Evaluator  that prepare accepted a changed evaluator

Their class names are stored, as `kind`. Scores compare only within one *measure*: domain, data, models, arguments,
limits, seeds, gate. A row says which.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from autoharness.core.outcomes import Rewards, passed, settled

Json = dict[str, Any]


class Verdict(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNDECIDED = "undecided"


class Side(StrEnum):
    CANDIDATE = "candidate"
    INCUMBENT = "incumbent"


@dataclass(frozen=True)
class Request:
    """One trial that a policy may need."""

    side: Side
    task_id: str
    number: int
    """Of the trial: both sides' trials with the same number have the same seed."""


VOID = -1.0
"""Stands for the reward of a trial that tau2 itself cannot evaluate."""
RULES = 1
"""The version of what becomes of such a trial. 0: its task leaves both sides. 1: it counts 0, on either side."""
Seen = Mapping[Request, float | None]
"""The rewards so far, or VOID; None where infrastructure failed; what was not run is not in it."""


@dataclass(frozen=True)
class SuiteRecord:
    """How a task of the suite went under the versions that were kept, since it came in."""

    passed: int = 0
    trials: int = 0

    def __add__(self, reward: float) -> "SuiteRecord":
        return SuiteRecord(self.passed + passed(reward), self.trials + 1)

    @property
    def failure_rate(self) -> float:
        """Half a failure and half a success are added (Jeffreys' prior; Brown, Cai and DasGupta, Statistical
        Science 16 (2001), 101-133): three passes of three do not say that it never fails."""
        return (self.trials - self.passed + 0.5) / (self.trials + 1)


@dataclass(frozen=True)
class Look:
    """One trial that a verdict rests on."""

    side: str
    task_id: str
    number: int
    reward: float | None
    key: str = ""
    """Its name in the vault; empty where infrastructure failed, so that nothing was kept."""
    sha256: str = ""
    """SHA-256 of the trial's file in the vault."""
    void: bool = False
    """Whether tau2 itself cannot evaluate it."""
    tries: int = 1
    """One, and one more for each time that infrastructure failed it or a call of it."""
    addressed: bool = False
    """Whether the agent's words were meant for the user simulator or the judge, and not for the customer."""


@dataclass(frozen=True)
class Row:
    """What every line has."""

    measure: str
    agent: str
    """SHA-256 of the agent file."""
    measured: str = ""
    """The measure in words."""
    experiment: Json = field(default_factory=dict)
    """The settings."""
    tasks: list[str] = field(default_factory=list)
    """The held-out tasks."""
    looks: list[Look] = field(default_factory=list)
    simulated: bool = False
    """Whether the models were programs of ours."""
    reveals: int = 0
    """How often single held-out results had been shown before."""
    runs_by_hand: int = 0
    """How often held-out tasks had been run by other commands than prepare's, the gate's and the confirmation."""
    evaluator: str = ""
    """SHA-256 of the manifest of the evaluator that made it; see `code_digest`."""
    rules: int = 0
    """The version of the rules for trials that tau2 itself cannot evaluate; see `ledger_rows.RULES`."""
    number: int = -1
    """Its place in the ledger, from 0."""
    time: str = ""
    sha256: str = ""
    """Of all of the above, and of the line before."""


@dataclass(frozen=True)
class Measured(Row):
    """A row with the score of a version, or of one that could become one."""

    held_out: Rewards = field(default_factory=dict)
    """Of its score: trials over the whole split."""
    train: Rewards = field(default_factory=dict)
    """Of those train tasks that this agent file was run on before this row."""
    val_score: float | None = None
    score_looks: list[Look] = field(default_factory=list)
    """The trials of its score."""
    first_trial: int = 0
    """The number of its first trial that had no part in promoting it: its score, and its evidence in later gates."""
    suite: Rewards = field(default_factory=dict)
    suite_looks: list[Look] = field(default_factory=list)
    promoted: list[str] = field(default_factory=list)
    """Train tasks that come into the suite with it."""
    promotion_trials: int = 1
    """How many trials each of them passed."""


@dataclass(frozen=True)
class Baseline(Measured):
    commit: str = ""


@dataclass(frozen=True)
class Gate(Measured):
    verdict: str = ""
    reasons: list[str] = field(default_factory=list)
    incumbent: str = ""
    """SHA-256 of the agent file it is compared with."""
    incumbent_first_trial: int = 0
    questions: int = 0
    """How many the holdout had been asked about this incumbent before."""
    order: str = ""
    """What seeds the order of its tasks: nobody who edits can know it."""
    bought: dict[str, int] = field(default_factory=dict)
    """By held-out task: how many trials of the incumbent there were before."""
    leaks: int = 0
    """What the edit carries of the benchmark's records."""
    asked: bool = True
    """Whether the holdout was asked at all: the leak scan and the suite come first."""
    answered: str = ""
    """The holdout's verdict."""
    best: float | None = None
    """The score it is compared with."""
    best_held_out: Rewards = field(default_factory=dict)
    suite_checks: Rewards = field(default_factory=dict)
    """The incumbent's results in those suite tasks that the candidate failed."""
    fault_looks: list[Look] = field(default_factory=list)
    """Trials of both sides that say whose fault it is that some were lost."""
    incumbent_fault: bool = False
    """Whether it is the incumbent's: then those that it lost count 0."""

    @property
    def seen(self) -> Seen:
        """The looks, as a policy takes them."""
        return {
            Request(Side(look.side), look.task_id, look.number): VOID if look.void else self.counted(look)
            for look in self.looks
        }

    def counted(self, look: Look) -> float | None:
        """What a trial counts that tau2 could evaluate."""
        is_its_fault = self.incumbent_fault and look.side == Side.INCUMBENT
        return VOID if look.reward is None and is_its_fault else look.reward


@dataclass(frozen=True)
class Record(Row):
    gate: int = -1
    """The number of its gate."""
    commit: str = ""
    iteration: int = 0
    """The one that it came from: those in between were not kept."""


@dataclass(frozen=True)
class Confirmation(Row):
    """Baseline against best (`agent`), once."""

    baseline: str = ""
    split: str = ""


@dataclass(frozen=True)
class Evaluator(Row):
    """Another evaluator from here on. `agent` is the newest version."""

    changed: list[str] = field(default_factory=list)
    """The names in its manifest that differ."""


@dataclass(frozen=True)
class Version:
    """A version of the agent file that is kept: the baseline, or a candidate that was accepted and recorded."""

    iteration: int
    row: Measured
    commit: str
    time: str

    @property
    def name(self) -> str:
        return f"iteration {self.iteration}" if self.iteration else "the baseline"


def settled_looks(looks: Iterable[Look], void: float | None = None) -> Rewards:
    """Each task's mean reward; None if any of its trials has none. `void`: what a void trial counts."""
    return settled((look.task_id, void if look.void else look.reward) for look in looks)


def scored_looks(looks: Sequence[Look], other: Rewards, rules: int = RULES) -> Rewards:
    """Each task's mean reward for a score: a void trial counts 0, unless the task is void on the other side too.

    `other`: the rewards of the version that it is compared with; without one, a task that is all void is left out.
    """
    if not rules:
        return settled_looks(looks)
    evaluated = {look.task_id for look in looks if look.reward is not None}
    evaluated |= {task_id for task_id, reward in other.items() if reward is not None}
    zeros = settled_looks(looks, void=0.0)
    return {task_id: reward if task_id in evaluated else None for task_id, reward in zeros.items()}


def reveal_lines(*rows: Row) -> list[str]:
    """For a person: how often single held-out results had been shown; none where they never were."""
    times = max(row.reveals for row in rows)
    return [f"revealed: single held-out results were shown {times} times before"] if times else []
