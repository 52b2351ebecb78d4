"""The types of the ledger's rows, and of their fields.

    Baseline   the first version: its train and held-out rewards
    Gate       one gate run: candidate against incumbent, every trial that was used, the verdict
    Record     that the candidate of a gate is a version now, and its commit
    Confirmation  baseline against best on trials that no verdict had used
    Evaluator  that prepare accepted changed code

Their class names are stored, as `kind`. Scores compare only within one settings identity (`measure`): domain, data,
models, arguments, limits, seeds, gate. Each row has its own.
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
    """One trial that the gate's rule may need."""

    side: Side
    task_id: str
    number: int
    """The trial's number: both sides' trials with the same number have the same seed."""


VOID = -1.0
"""The reward of a trial that tau2 itself cannot evaluate (a void trial)."""
RULES = 1
"""Version of the rule for void trials. 0: the task leaves both sides. 1: the trial counts 0, on either side."""
Seen = Mapping[Request, float | None]
"""The rewards so far, or VOID; None if infrastructure failed; trials that were not run are left out."""


@dataclass(frozen=True)
class SuiteRecord:
    """Passes and trials of a suite task under the versions that were kept, since it came in."""

    passed: int = 0
    trials: int = 0

    def __add__(self, reward: float) -> "SuiteRecord":
        return SuiteRecord(self.passed + passed(reward), self.trials + 1)

    @property
    def failure_rate(self) -> float:
        """Half a failure and half a success are added (Jeffreys' prior; Brown, Cai and DasGupta, Statistical
        Science 16 (2001), 101-133): three passes of three do not mean that it never fails."""
        return (self.trials - self.passed + 0.5) / (self.trials + 1)


@dataclass(frozen=True)
class Look:
    """One trial that a verdict rests on."""

    side: str
    task_id: str
    number: int
    reward: float | None
    key: str = ""
    """Its name in the vault; empty if infrastructure failed, so that nothing was kept."""
    sha256: str = ""
    """SHA-256 of the trial's file in the vault."""
    void: bool = False
    """Whether tau2 itself cannot evaluate it."""
    tries: int = 1
    """1, plus 1 for each time that infrastructure failed the trial or one of its calls."""
    addressed: bool = False
    """Whether the agent's words were meant for the user simulator or the judge, and not for the customer."""


@dataclass(frozen=True)
class Row:
    """The fields of every row."""

    measure: str
    agent: str
    """SHA-256 of the agent file."""
    measured: str = ""
    """The settings identity in words."""
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
    """Digest of the code that made it; see `code_digest`."""
    rules: int = 0
    """The version of the rule for void trials (`RULES`) that was used."""
    number: int = -1
    """Its place in the ledger, from 0."""
    time: str = ""
    sha256: str = ""
    """SHA-256 of all of the above, and of the line before."""


@dataclass(frozen=True)
class Measured(Row):
    """A row with the score of a version or of a candidate."""

    held_out: Rewards = field(default_factory=dict)
    """The rewards of its score: trials over the whole split."""
    train: Rewards = field(default_factory=dict)
    """Rewards of the train tasks that this agent file was run on before this row."""
    val_score: float | None = None
    score_looks: list[Look] = field(default_factory=list)
    """The trials of its score."""
    first_trial: int = 0
    """Number of its first trial that did not promote it: its score and its evidence in later gates begin there."""
    suite: Rewards = field(default_factory=dict)
    suite_looks: list[Look] = field(default_factory=list)
    promoted: list[str] = field(default_factory=list)
    """Train tasks that it adds to the suite."""
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
    """How many gate runs there had been against this incumbent before."""
    order: str = ""
    """The seed of the order of its tasks: nobody who edits can know it."""
    bought: dict[str, int] = field(default_factory=dict)
    """By held-out task: how many trials of the incumbent there were before."""
    leaks: int = 0
    """How many leaks of the benchmark's records the edit carries."""
    asked: bool = True
    """Whether held-out tasks were run at all: the leak scan and the suite come first."""
    answered: str = ""
    """The verdict of the held-out tasks."""
    best: float | None = None
    """The score it is compared with."""
    best_held_out: Rewards = field(default_factory=dict)
    suite_checks: Rewards = field(default_factory=dict)
    """The incumbent's results in those suite tasks that the candidate failed."""
    fault_looks: list[Look] = field(default_factory=list)
    """Trials of both sides that show whose fault it is that some were lost."""
    incumbent_fault: bool = False
    """Whether that is the incumbent's fault: then the trials that it lost count 0."""

    @property
    def seen(self) -> Seen:
        """`looks` in the form that the gate's rule takes."""
        return {
            Request(Side(look.side), look.task_id, look.number): VOID if look.void else self.counted(look)
            for look in self.looks
        }

    def counted(self, look: Look) -> float | None:
        """What a trial counts if tau2 could evaluate it."""
        is_its_fault = self.incumbent_fault and look.side == Side.INCUMBENT
        return VOID if look.reward is None and is_its_fault else look.reward


@dataclass(frozen=True)
class Record(Row):
    gate: int = -1
    """The number of its gate."""
    commit: str = ""
    iteration: int = 0
    """The iteration that it came from: those in between were not kept."""


@dataclass(frozen=True)
class Confirmation(Row):
    """Baseline against best (`agent`), once."""

    baseline: str = ""
    split: str = ""


@dataclass(frozen=True)
class Evaluator(Row):
    """The code has changed from here on. `agent` is the newest version."""

    changed: list[str] = field(default_factory=list)
    """The names in the code's manifest that differ."""


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
    """Each task's mean reward; None if any of its trials has none. `void`: the reward of a void trial."""
    return settled((look.task_id, void if look.void else look.reward) for look in looks)


def scored_looks(looks: Sequence[Look], other: Rewards, rules: int = RULES) -> Rewards:
    """Each task's mean reward for a score: a void trial counts 0, unless the task is void on the other side too.

    `other`: the rewards of the version that it is compared with; if there are none, a task with only void trials is
    left out.
    """
    if not rules:
        return settled_looks(looks)
    evaluated = {look.task_id for look in looks if look.reward is not None}
    evaluated |= {task_id for task_id, reward in other.items() if reward is not None}
    zeros = settled_looks(looks, void=0.0)
    return {task_id: reward if task_id in evaluated else None for task_id, reward in zeros.items()}


def reveal_lines(*rows: Row) -> list[str]:
    """For a person: how often single held-out results had been shown; none if they never were."""
    times = max(row.reveals for row in rows)
    return [f"revealed: single held-out results were shown {times} times before"] if times else []
