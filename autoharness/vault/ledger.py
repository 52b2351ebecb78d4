"""The ledger: every baseline, gate run, record and confirmation, in order. `workspace/` is exported from it."""

import itertools
from collections.abc import Iterator
from copy import copy

from autoharness.core.command_form import typed
from autoharness.core.errors import UserError
from autoharness.core.outcomes import Rewards, natural_order, passed
from autoharness.core.settings import RATCHET
from autoharness.vault.ledger_chain import AnyRow, append, read
from autoharness.vault.ledger_rows import (
    Baseline,
    Evaluator,
    Gate,
    Measured,
    Record,
    Row,
    Side,
    SuiteRecord,
    Verdict,
    Version,
)
from autoharness.vault.store import Store


class Ledger:
    """All rows of the vault's ledger with one settings identity (`measure`)."""

    def __init__(self, store: Store, measure: str | None = None) -> None:
        """`measure`: None means the newest row's. Raises UserError for a line that does not fit."""
        self._store = store
        self.all_rows = read(store)
        self.measure = measure if measure is not None else (self.all_rows[-1].measure if self.all_rows else "")
        self.rows = [row for row in self.all_rows if row.measure == self.measure]

    def append(self, row: AnyRow) -> AnyRow:
        row = append(self._store, row, self.all_rows)
        self.all_rows.append(row)
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
        """The kept versions of every settings identity, in the order in which each was first used."""
        measures = dict.fromkeys(row.measure for row in self.all_rows)
        by_measure = [[row for row in self.all_rows if row.measure == measure] for measure in measures]
        return [version for rows in by_measure for version in _versions(rows)]

    @property
    def agents(self) -> set[str]:
        """The agent files (SHA-256) of the kept versions of every settings identity."""
        return {version.row.agent for version in self.all_versions}

    @property
    def evaluator(self) -> str:
        """The code digest that was accepted last; empty if the ledger is older and has none."""
        return next((row.evaluator for row in reversed(self.rows) if row.evaluator), "")

    @property
    def evaluator_lines(self) -> list[str]:
        """For printed scores: a line if the code is not the baseline's any more."""
        times = sum(isinstance(row, Evaluator) for row in self.rows)
        return [f"evaluator: changed since the baseline, {times} times; prepare.py accepted it"] if times else []

    @property
    def gates(self) -> list[Gate]:
        return [row for row in self.rows if isinstance(row, Gate)]

    @property
    def questions(self) -> int:
        """How many gate runs on held-out tasks; one that infrastructure left undecided and its rerun count as one."""
        return len({(gate.incumbent, gate.agent) for gate in self.gates if gate.asked})

    def questions_about(self, incumbent: str, candidate: str) -> int:
        """How many other candidates had a gate run on held-out tasks, against this incumbent."""
        asked = {gate.agent for gate in self.gates if gate.asked and gate.incumbent == incumbent}
        return len(asked - {candidate})

    def same_question(self, gate: Gate) -> Gate | None:
        """The row of the first gate run of this candidate against this incumbent on held-out tasks."""
        question = (gate.agent, gate.incumbent)
        return next((one for one in self.gates if one.asked and (one.agent, one.incumbent) == question), None)

    def bought(self, incumbent: Version) -> dict[str, int]:
        """By held-out task: how many of the incumbent's trials verdicts have used, counted from its `first_trial`.

        Taken from the rows, not from the vault: a killed gate must not change what its next run compares with.
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
        """Whether the newest version is this agent file and was recorded, not the baseline."""
        return len(self.versions) > 1 and self.versions[-1].row.agent == agent

    @property
    def best(self) -> Version:
        """The newest version, since each was found better than the one before. Under the ratchet: the version with
        the best score, the newest of equal ones."""
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

    def check_baseline(self) -> None:
        """Raises UserError if there is no baseline."""
        if not self.versions:
            raise UserError(f"there is no baseline yet: {typed('prepare.py')}")

    def version(self, name: str) -> Version:
        """A kept version by iteration, "baseline", "best", or the beginning of its commit. Raises UserError."""
        self.check_baseline()
        if name in ("baseline", "best"):
            return self.versions[0] if name == "baseline" else self.best
        for version in self.versions:
            if name == str(version.iteration) or (len(name) >= 6 and version.commit.startswith(name)):
                return version
        known = ", ".join(str(version.iteration) for version in self.versions)
        raise UserError(f"no version {name!r}: there is baseline, best, and {known}")

    def pending(self, agent: str) -> Gate:
        """The gate that accepted this agent file and is not recorded yet. Raises UserError if there is none."""
        last_record = max((n for n, row in enumerate(self.rows) if isinstance(row, Record)), default=-1)
        gates = [row for row in self.rows[last_record + 1 :] if isinstance(row, Gate) and row.agent == agent]
        if not gates:
            raise UserError(f"agent/agent.py (sha256 {agent[:12]}) is not what was gated last: {typed('gating.py')}")
        if gates[-1].verdict != Verdict.ACCEPTED:
            raise UserError(f"the gate's verdict on agent/agent.py was {gates[-1].verdict}: nothing to record")
        return gates[-1]


def _is_undecided(row: Row) -> bool:
    return isinstance(row, Gate) and row.verdict == Verdict.UNDECIDED


def _suite_results(row: Measured, kept: bool) -> Iterator[tuple[str, float]]:
    """What a row adds to the records: trials of versions that are kept."""
    results = [*(row.suite.items() if kept else []), *(row.suite_checks.items() if isinstance(row, Gate) else [])]
    yield from ((task_id, reward) for task_id, reward in results if reward is not None)


def _flaked(row: Measured) -> list[str]:
    """The suite tasks that the unchanged incumbent failed."""
    checks = row.suite_checks if isinstance(row, Gate) else {}
    return [task_id for task_id, reward in checks.items() if reward is not None and not passed(reward)]


def _versions(rows: list[Row]) -> list[Version]:
    """The versions in rows of one settings identity."""
    gates = {row.number: row for row in rows if isinstance(row, Gate)}
    versions: list[Version] = []
    for row in rows:
        if isinstance(row, Baseline):
            versions.append(Version(len(versions), row, row.commit, row.time))
        if isinstance(row, Record) and row.gate in gates:
            iteration = row.iteration or 1 + max([0, *(version.iteration for version in versions)])
            versions.append(Version(iteration, gates[row.gate], row.commit, row.time))
    return versions
