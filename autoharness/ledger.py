"""The ledger: what was measured and decided, in order. It lies in the vault; what `workspace/` shows is made from it.

    baseline   the first version: its train and held-out rewards
    gate       a candidate's held-out rewards, its results in the regression suite, the verdict
    record     that the candidate of a gate is a version now, and its commit

Scores compare only within one *measure*: domain, data, models, arguments, limits, seeds. A row says which one it has.
"""

import json
from dataclasses import asdict, dataclass, field

from autoharness.errors import UserError
from autoharness.results import Rewards, natural_order
from autoharness.store import Store, now

_FILE = "ledger.jsonl"
BASELINE, GATE, RECORD = "baseline", "gate", "record"


@dataclass(frozen=True)
class Row:
    """One line of the ledger."""

    kind: str
    measure: str
    agent: str
    """SHA-256 of the agent file."""
    measured: str = ""
    """The measure in words."""
    simulated: bool = False
    """Whether the models were programs of ours."""
    reveals: int = 0
    """How often single held-out results had been shown before."""
    held_out: Rewards = field(default_factory=dict)
    train: Rewards = field(default_factory=dict)
    """Of those train tasks that this agent file was run on before this row."""
    suite: Rewards = field(default_factory=dict)
    """Of a gate: the regression suite's results."""
    promoted: list[str] = field(default_factory=list)
    """Of an accepted gate: train tasks that come into the suite with this version."""
    verdict: str = ""
    reasons: list[str] = field(default_factory=list)
    val_score: float | None = None
    best: float | None = None
    """What `val_score` had to reach."""
    threshold: float = 0.8
    """The suite's pass rate that the gate asks for."""
    commit: str = ""
    gate: int = -1
    """Of a record: the number of its gate."""
    number: int = -1
    """Its place in the ledger, from 0."""
    time: str = ""


@dataclass(frozen=True)
class Version:
    """A version of the agent file that is kept: the baseline, or a candidate that was accepted and recorded."""

    iteration: int
    row: Row
    """Its baseline, or the record that repeats its gate."""

    @property
    def name(self) -> str:
        return f"iteration {self.iteration}" if self.iteration else "the baseline"


class Ledger:
    """All rows of the vault's ledger with one measure."""

    def __init__(self, store: Store, measure: str | None = None) -> None:
        """`measure`: None stands for that of the newest row."""
        self._store = store
        rows = _read(store)
        self.measure = measure if measure is not None else (rows[-1].measure if rows else "")
        self._all_rows = rows
        self.rows = [row for row in rows if row.measure == self.measure]

    def append(self, row: Row) -> Row:
        row = Row(**{**asdict(row), "number": len(self._store.read_lines(_FILE)), "time": now()})
        self._store.append_line(_FILE, asdict(row))
        self._all_rows.append(row)
        self.rows.append(row)
        return row

    @property
    def versions(self) -> list[Version]:
        """The kept versions, oldest first; empty before the baseline."""
        return _versions(self.rows)

    @property
    def all_versions(self) -> list[Version]:
        """The kept versions of every measure, in the order in which each measure was first used."""
        measures = dict.fromkeys(row.measure for row in self._all_rows)
        by_measure = [[row for row in self._all_rows if row.measure == measure] for measure in measures]
        return [version for rows in by_measure for version in _versions(rows)]

    @property
    def other_measure(self) -> str:
        """The words of the newest measure in the vault that is not this one; empty where there is none."""
        others = [row.measured for row in self._all_rows if row.measure != self.measure]
        return others[-1] if others else ""

    def is_recorded(self, agent: str) -> bool:
        """Whether the newest version is this agent file, by a record and not as the baseline."""
        return bool(self.versions) and (self.versions[-1].row.kind, self.versions[-1].row.agent) == (RECORD, agent)

    @property
    def best(self) -> Version:
        """The version with the best score; the newest of equal ones."""
        return max(self.versions, key=lambda version: (version.row.val_score or 0.0, version.iteration))

    @property
    def suite(self) -> list[str]:
        """The train tasks of the regression suite, as the recorded versions left it."""
        promoted = {task_id for version in self.versions for task_id in version.row.promoted}
        return sorted(promoted, key=natural_order)

    @property
    def last_suite_results(self) -> Rewards:
        gates = [row for row in self.rows if row.kind == GATE]
        return gates[-1].suite if gates else {}

    def version(self, name: str) -> Version:
        """A kept version by iteration, "baseline", "best", or the beginning of its commit. Raises UserError."""
        if not self.versions:
            raise UserError("there is no baseline yet: python prepare.py")
        if name in ("baseline", "best"):
            return self.versions[0] if name == "baseline" else self.best
        for version in self.versions:
            if name == str(version.iteration) or (len(name) >= 6 and version.row.commit.startswith(name)):
                return version
        raise UserError(f"no version {name!r}: there is baseline, best, and 0 to {len(self.versions) - 1}")

    def pending(self, agent: str) -> Row:
        """The gate that accepted this agent file and is not recorded yet. Raises UserError where there is none."""
        since_record: list[Row] = []
        for row in self.rows:
            since_record = [] if row.kind == RECORD else [*since_record, row]
        gates = [row for row in since_record if row.kind == GATE and row.agent == agent]
        if not gates:
            raise UserError(f"agent/agent.py (sha256 {agent[:12]}) is not what was gated last: python gating.py")
        if gates[-1].verdict != "accepted":
            raise UserError(f"the gate's verdict on agent/agent.py was {gates[-1].verdict}: nothing to record")
        return gates[-1]


def _versions(rows: list[Row]) -> list[Version]:
    """Those of one measure."""
    kept = [row for row in rows if row.kind in (BASELINE, RECORD)]
    return [Version(iteration, row) for iteration, row in enumerate(kept)]


def _read(store: Store) -> list[Row]:
    rows = []
    for number, line in enumerate(store.read_lines(_FILE)):
        try:
            rows.append(Row(**json.loads(line)))
            whole = rows[-1].number == number and isinstance(rows[-1].held_out, dict)
        except (ValueError, TypeError, RecursionError):
            whole = False
        if not whole:
            raise UserError(f"{store.folder / _FILE}, line {number + 1}: damaged, and it decides; restore or move it")
    return rows
