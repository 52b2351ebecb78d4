"""The ledger: what was measured and decided, in order. It lies in the vault; what `workspace/` shows is made from it.

    Baseline   the first version: its train and held-out rewards
    Gate       one question: candidate against incumbent, every trial that was looked at, the verdict
    Record     that the candidate of a gate is a version now, and its commit
    Confirmation  baseline against best on trials that no verdict had looked at
    Evaluator  that prepare accepted a changed evaluator

One JSON line each. It ends with its own SHA-256, which the next line repeats; it names the agent file, the settings,
the task ids, and the SHA-256 of every trial it rests on. What was changed by hand is found. It does not protect
against somebody who can write the vault and makes the whole chain anew; each commit names its line, and lies in git.

Scores compare only within one *measure*: domain, data, models, arguments, limits, seeds, gate. A row says which.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from autoharness.config import RATCHET
from autoharness.errors import UserError
from autoharness.files import write_json
from autoharness.lines import Followed
from autoharness.policy import RULES, VOID, Request, Seen, Side, Verdict
from autoharness.results import Rewards, digest, natural_order, passed, settled
from autoharness.store import Store, now
from autoharness.suite import Record as SuiteRecord

FILE = "ledger.jsonl"
_HEAD = "ledger.head.json"
_FIRST = "0" * 64
"""What stands in the first line for the line before it."""

Json = dict[str, Any]


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
    """Of its file there."""
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
    """SHA-256 of the manifest of the evaluator that made it; see `evaluator`."""
    rules: int = 0
    """The version of the rules for trials that tau2 itself cannot evaluate; see `policy.RULES`."""
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


AnyRow = TypeVar("AnyRow", bound=Row)


class Ledger:
    """All rows of the vault's ledger with one measure."""

    def __init__(self, store: Store, measure: str | None = None) -> None:
        """`measure`: None stands for that of the newest row. Raises UserError for a line that does not fit."""
        self._store = store
        self.all_rows = read(store)
        self.measure = measure if measure is not None else (self.all_rows[-1].measure if self.all_rows else "")
        self.rows = [row for row in self.all_rows if row.measure == self.measure]

    def append(self, row: AnyRow) -> AnyRow:
        previous = self.all_rows[-1].sha256 if self.all_rows else _FIRST
        row = replace(row, number=len(self.all_rows), time=now())
        line = {"kind": type(row).__name__, "previous": previous, **asdict(row)}
        del line["sha256"]
        row = replace(row, sha256=digest(line))
        self._store.append_line(FILE, line | {"sha256": row.sha256})
        self.all_rows.append(row)
        _note_head(self._store, self.all_rows)
        self.rows.append(row)
        return row

    def before(self, row: Row) -> "Ledger":
        """The ledger as it was when that row was made."""
        earlier = copy(self)
        earlier.measure = row.measure
        earlier.all_rows = [one for one in self.all_rows if one.number < row.number]
        earlier.rows = [one for one in earlier.all_rows if one.measure == row.measure]
        return earlier

    @property
    def versions(self) -> list[Version]:
        """The kept versions, oldest first; empty before the baseline."""
        return _versions(self.rows)

    @property
    def all_versions(self) -> list[Version]:
        """The kept versions of every measure, in the order in which each measure was first used."""
        measures = dict.fromkeys(row.measure for row in self.all_rows)
        by_measure = [[row for row in self.all_rows if row.measure == measure] for measure in measures]
        return [version for rows in by_measure for version in _versions(rows)]

    @property
    def agents(self) -> set[str]:
        """The agent files (SHA-256) of the kept versions of every measure."""
        return {version.row.agent for version in self.all_versions}

    @property
    def evaluator(self) -> str:
        """SHA-256 of the manifest that was accepted last; empty where a ledger from before has none."""
        return next((row.evaluator for row in reversed(self.rows) if row.evaluator), "")

    @property
    def evaluator_lines(self) -> list[str]:
        """For headlines: a line where the evaluator is not the baseline's."""
        times = sum(isinstance(row, Evaluator) for row in self.rows)
        return [f"evaluator: changed since the baseline, {times} times; prepare.py accepted it"] if times else []

    @property
    def gates(self) -> list[Gate]:
        return [row for row in self.rows if isinstance(row, Gate)]

    @property
    def questions(self) -> int:
        """How many the holdout was asked; one that infrastructure left open and that was asked again is one."""
        return len({(gate.incumbent, gate.agent) for gate in self.gates if gate.asked})

    def questions_about(self, incumbent: str, candidate: str) -> int:
        """How many other candidates the holdout was asked about, against this incumbent."""
        asked = {gate.agent for gate in self.gates if gate.asked and gate.incumbent == incumbent}
        return len(asked - {candidate})

    def same_question(self, gate: Gate) -> Gate | None:
        """The row where the holdout was first asked about this candidate and this incumbent."""
        question = (gate.agent, gate.incumbent)
        return next((one for one in self.gates if one.asked and (one.agent, one.incumbent) == question), None)

    def bought(self, incumbent: Version) -> dict[str, int]:
        """By held-out task: how many of its trials were looked at, from the first without a part in promoting it on.

        From the rows, not from the vault: a gate that was killed must not change what its next run compares with.
        """
        looks = list(incumbent.row.score_looks)
        for gate in self.gates:
            same = gate.incumbent == incumbent.row.agent
            looks += [look for look in gate.looks if same and look.side == Side.INCUMBENT]
        known = {(look.task_id, look.number) for look in looks if look.reward is not None}
        counts: dict[str, int] = {}
        for task_id in dict.fromkeys(task_id for task_id, _ in known):
            numbers = itertools.count(incumbent.row.first_trial)
            counts[task_id] = sum(1 for _ in itertools.takewhile(lambda n: (task_id, n) in known, numbers))  # noqa: B023
        return counts

    def is_recorded(self, agent: str) -> bool:
        """Whether the newest version is this agent file, by a record and not as the baseline."""
        return len(self.versions) > 1 and self.versions[-1].row.agent == agent

    @property
    def best(self) -> Version:
        """The newest version, since each was found better than the one before; under the ratchet that with the best
        score, the newest of equal ones."""
        if self.versions[-1].row.experiment.get("gate") != RATCHET:
            return self.versions[-1]
        return max(self.versions, key=lambda version: (version.row.val_score or 0.0, version.iteration))

    @property
    def suite(self) -> dict[str, SuiteRecord]:
        """The train tasks of the regression suite, with their records, as the recorded versions left them."""
        suite: dict[str, SuiteRecord] = {}
        kept = {id(version.row) for version in self.versions}
        counted: set[str] = set()
        for row in (row for row in self.rows if isinstance(row, Measured)):
            if id(row) not in kept and (row.agent in counted or _is_undecided(row)):
                continue  # the same trials again
            counted.add(row.agent)
            for task_id, reward in _suite_results(row, id(row) in kept):
                if task_id in suite:
                    suite[task_id] += reward
            for task_id in _flaked(row):
                suite.pop(task_id, None)
            if id(row) in kept:
                new = SuiteRecord(row.promotion_trials, row.promotion_trials)
                suite |= dict.fromkeys(row.promoted, new)
        return {task_id: suite[task_id] for task_id in sorted(suite, key=natural_order)}

    @property
    def last_suite_results(self) -> Rewards:
        return self.gates[-1].suite if self.gates else {}

    def version(self, name: str) -> Version:
        """A kept version by iteration, "baseline", "best", or the beginning of its commit. Raises UserError."""
        if not self.versions:
            raise UserError("there is no baseline yet: python prepare.py")
        if name in ("baseline", "best"):
            return self.versions[0] if name == "baseline" else self.best
        for version in self.versions:
            if name == str(version.iteration) or (len(name) >= 6 and version.commit.startswith(name)):
                return version
        known = ", ".join(str(version.iteration) for version in self.versions)
        raise UserError(f"no version {name!r}: there is baseline, best, and {known}")

    def pending(self, agent: str) -> Gate:
        """The gate that accepted this agent file and is not recorded yet. Raises UserError where there is none."""
        last_record = max((n for n, row in enumerate(self.rows) if isinstance(row, Record)), default=-1)
        gates = [row for row in self.rows[last_record + 1 :] if isinstance(row, Gate) and row.agent == agent]
        if not gates:
            raise UserError(f"agent/agent.py (sha256 {agent[:12]}) is not what was gated last: python gating.py")
        if gates[-1].verdict != Verdict.ACCEPTED:
            raise UserError(f"the gate's verdict on agent/agent.py was {gates[-1].verdict}: nothing to record")
        return gates[-1]


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


def _is_undecided(row: Row) -> bool:
    return isinstance(row, Gate) and row.verdict == Verdict.UNDECIDED


def _suite_results(row: Measured, kept: bool) -> Iterator[tuple[str, float]]:
    """What a row adds to the records: trials of versions that are kept."""
    results = [*(row.suite.items() if kept else []), *(row.suite_checks.items() if isinstance(row, Gate) else [])]
    yield from ((task_id, reward) for task_id, reward in results if reward is not None)


def _flaked(row: Measured) -> list[str]:
    """The suite tasks that the incumbent failed, unchanged as it was."""
    checks = row.suite_checks if isinstance(row, Gate) else {}
    return [task_id for task_id, reward in checks.items() if reward is not None and not passed(reward)]


def _versions(rows: list[Row]) -> list[Version]:
    """Those of one measure."""
    gates = {row.number: row for row in rows if isinstance(row, Gate)}
    versions: list[Version] = []
    for row in rows:
        if isinstance(row, Baseline):
            versions.append(Version(len(versions), row, row.commit, row.time))
        if isinstance(row, Record) and row.gate in gates:
            iteration = row.iteration or 1 + max([0, *(version.iteration for version in versions)])
            versions.append(Version(iteration, gates[row.gate], row.commit, row.time))
    return versions


_LOOKS = frozenset({"looks", "score_looks", "suite_looks", "fault_looks"})
_KINDS: dict[str, type[Row]] = {kind.__name__: kind for kind in (Baseline, Gate, Record, Confirmation, Evaluator)}


class LaterVersion(UserError):
    """What is stored is not damaged: this checkout is too old for it."""


def _is_of_later_version(line: str) -> bool:
    """Whether a row is whole, and has what no row of this version has."""
    try:
        given = json.loads(line)
        if given.pop("sha256") != digest(given):
            return False
        kind = _KINDS.get(given["kind"])
        looks = [look for name in _LOOKS & given.keys() for look in given[name]]
        rows_own = kind is not None and given.keys() <= {"kind", "previous", *(one.name for one in fields(kind))}
        return not rows_own or any(look.keys() - {one.name for one in fields(Look)} for look in looks)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False


@dataclass
class _Chain:
    """The rows of a file, as far as they were read; each follows from the one before."""

    path: Path
    rows: list[Row] = field(default_factory=list)

    def take(self, line: str) -> None:
        """Raises UserError for a line that is damaged or out of place."""
        row = _parse(line, len(self.rows), self.rows[-1].sha256 if self.rows else _FIRST)
        where = f"{self.path}, line {len(self.rows) + 1}"
        if row is None and _is_of_later_version(line):
            raise LaterVersion(f"{where}: a later version of auto-harness wrote it: update this checkout")
        if row is None:
            raise UserError(
                f"{where}: not as the gate wrote it, and it decides; restore the file, or go on from the lines "
                "before it: python prepare.py"
            )
        self.rows.append(row)


_chains = Followed(_Chain, _Chain.take)


def read(store: Store) -> list[Row]:
    """The rows of the vault's ledger. Raises UserError for a line that is damaged or out of place."""
    head = _head(store)  # before the rows: another command may be about to append one
    rows = list(_chains.of(store.folder / FILE).rows)
    if head > len(rows):
        raise UserError(
            f"{store.folder / FILE}: {head - len(rows)} rows are missing at its end, and they decide; restore the "
            "file, or go on without them: python prepare.py"
        )
    return rows


def _note_head(store: Store, rows: Sequence[Row]) -> None:
    """How long the ledger is stands in a file of its own: rows cut from its end leave a chain that is whole."""
    write_json(store.folder / _HEAD, {"rows": len(rows)})


def _head(store: Store) -> int:
    try:
        return int(json.loads((store.folder / _HEAD).read_text())["rows"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0


def mend(store: Store) -> list[str]:
    """Keeps a damaged ledger aside and goes on from the rows before the damage; says so. Raises LaterVersion."""
    try:
        read(store)
    except LaterVersion:
        raise
    except UserError as error:
        chain, lines = _Chain(store.folder / FILE), store.read_lines(FILE)
        with suppress(UserError):
            for line in lines:
                chain.take(line)
        aside = store.replace_lines(FILE, lines[: len(chain.rows)])
        _note_head(store, chain.rows)
        lost = (
            f"{len(chain.rows)} of {len(lines)} rows are kept; gate again what came later (its trials are paid for)"
        )
        return [f"{error}", f"kept as {aside}: {lost}"]
    return []


def _parse(line: str, number: int, previous: str) -> Row | None:
    try:
        given = json.loads(line)
        sha256 = given.pop("sha256")
        if digest(given) != sha256:
            return None
        kind, follows = _KINDS[given.pop("kind")], given.pop("previous") == previous
        for name in _LOOKS & given.keys():
            given[name] = [Look(**look) for look in given[name]]
        row = kind(**given, sha256=sha256)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return row if follows and row.number == number else None
