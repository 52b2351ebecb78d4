"""Compares the ledger with other evidence: git commits, the holdout log, trials, and the vault's own counts.

Rows that are cut off leave no gap in the chain of the others. But the commit of each accepted edit names its row and
the vault; each row says how often single results had been shown; the vault counts its written lines in
another place; and there are no iterations and no gates without a baseline in the ledger.

If something merely cannot be seen from here, that is a remark, not a finding: another clone lacks the commits, a
folder need not be a git repository, and a baseline that was killed leaves trials and no row.

It does not protect against a person who can write the vault and the repository, and makes all of it fit.
"""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from autoharness.core.errors import UserError
from autoharness.core.git_repository import Repository
from autoharness.core.settings import AGENT_FILE
from autoharness.gate.gate_run import FIRST_TRIAL
from autoharness.vault.iterations import Iterations
from autoharness.vault.ledger_rows import Baseline, Measured, Record, Row
from autoharness.vault.store import HEAD, HOLDOUT, LEDGER, SPENDING, Store

_NAMED = re.compile(r"^ledger row (\d{1,9}), sha256 ([0-9a-f]{64})(?:, vault ([0-9a-f]{16}))?$", re.MULTILINE)
"""In the message of a commit; older versions did not name the vault."""
_BEFORE_A_BASELINE = {"prepare.py", "benchmark.py", "python"}
"""Commands that run held-out tasks before there is a ledger."""


@dataclass(frozen=True)
class Remark:
    """Something that cannot be checked here. It is not a finding."""

    text: str


def compare(store: Store, rows: Sequence[Row]) -> Iterator[str | Remark]:
    """Findings, and remarks."""
    yield from _counted(store, rows)
    yield from _log(store, rows)
    if not rows:
        yield from _without_a_ledger(store)
    try:
        repository = Repository()
        yield from _Commits(store, rows, repository).compare()
    except UserError as error:
        yield Remark(f"not compared with git: {error}")


def _counted(store: Store, rows: Sequence[Row]) -> Iterator[str]:
    """Compare with the number of lines that were ever written."""
    there = {name: len(store.read_lines(name)) for name in (LEDGER, HOLDOUT, SPENDING)}
    for name, lines in there.items():
        if lines < (written := store.lines_written(name)):
            yield f"{name}: {written - lines} of the {written} lines that were written are not there"
    counted = len(rows) > 1 and store.lines_written(LEDGER)  # with one row, a kill may have come before
    if counted and not _head_says_something(store):
        yield f"{HEAD} is not there, or does not say how many rows there are"


def _head_says_something(store: Store) -> bool:
    try:
        return int(json.loads((store.folder / HEAD).read_text())["rows"]) > 0
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _log(store: Store, rows: Sequence[Row]) -> Iterator[str]:
    """Each row says what the log of the holdout had before it."""
    by_domain = defaultdict(list)
    for row in rows:
        if domain := row.experiment.get("domain"):
            by_domain[domain].append(row)
    for domain, some in by_domain.items():
        shown, by_hand = max(row.reveals for row in some), max(row.runs_by_hand for row in some)
        if shown > (logged := store.reveals(domain)):
            yield f"{HOLDOUT}: single results of {domain} had been shown {shown} times, and it has {logged}"
        if by_hand > (logged := store.runs_by_hand(domain)):
            yield f"{HOLDOUT}: held-out tasks of {domain} had been run {by_hand} times by hand, and it has {logged}"
        scored = [row for row in some if isinstance(row, Measured) and row.score_looks]
        if scored and not store.holdout_log(domain):
            yield f"{HOLDOUT}: {len(scored)} rows rest on held-out tasks of {domain}, and it has no run of them"


def _without_a_ledger(store: Store) -> Iterator[str | Remark]:
    """Findings and remarks on what exists although the ledger is empty."""
    gates = [entry for entry in store.holdout_log() if entry.get("command") not in _BEFORE_A_BASELINE]
    if gates:
        yield f"{LEDGER}: it is empty, and {HOLDOUT} has {len(gates)} runs of commands that need a baseline"
    if iterations := len(Iterations(store).all()):
        yield f"{LEDGER}: it is empty, and there are {iterations} iterations of the loop"
    trials = _trials(store)
    by_hand = len(store.holdout_log()) > sum(entry.get("command") == "prepare.py" for entry in store.holdout_log())
    if trials and not by_hand and _were_gated(trials):
        yield f"{LEDGER}: it is empty, and there are {len(trials)} trials, of gates too"
    elif trials:
        yield Remark(f"{len(trials)} trials and no row: no baseline was finished, or the ledger is gone")


def _trials(store: Store) -> list[tuple[str, str, int]]:
    """Agent file, task and number of each stored trial."""
    found = []
    for path in store.trial_files():
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            trial = json.loads(path.read_bytes())["outcome"]["trial"]
            found.append((str(trial["agent"]), str(trial["task_id"]), int(trial["number"])))
    return found


def _were_gated(trials: list[tuple[str, str, int]]) -> bool:
    """A gate compares two agent files, and runs held-out tasks as no baseline does: with low numbers too."""
    numbers = defaultdict(set)
    for _, task_id, number in trials:
        numbers[task_id].add(number < FIRST_TRIAL)
    return len({agent for agent, _, _ in trials}) > 1 and any(len(kinds) > 1 for kinds in numbers.values())


class _Commits:
    """The commits of the checkout's repository, against the rows."""

    def __init__(self, store: Store, rows: Sequence[Row], repository: Repository) -> None:
        self._store, self._rows, self._repository = store, rows, repository
        self._messages = repository.messages()
        self._named = {commit: _NAMED.findall(message) for commit, message in self._messages.items()}

    def compare(self) -> Iterator[str | Remark]:
        others = 0
        for commit, named in self._named.items():
            if named and (unknown := self._unknown(commit)):
                yield Remark(unknown)
                continue
            fitting = [row for number, sha256, _ in named if (row := self._row(int(number), sha256))]
            if fitting and self._agent(commit) not in {row.agent for row in fitting}:
                yield f"commit {commit[:12]} names {self._words(named)}, and has another {AGENT_FILE} than that"
            missing = [one for one in named if not self._row(int(one[0]), one[1])]
            ours = [one for one in missing if self._is_ours(commit, one[2])]
            if ours:
                yield f"commit {commit[:12]} names {self._words(ours)}, which the ledger does not have so"
            others += len(missing) > len(ours)
        if others:
            yield Remark(f"{others} commits name rows of other vaults")
        yield from self._recorded()

    def _recorded(self) -> Iterator[str | Remark]:
        """Each version's commit is here, and has its agent file."""
        records = [row for row in self._rows if isinstance(row, Record)]
        for place, row in enumerate(records):
            what = f"commit {row.commit[:12]} of row {row.number}"
            if row.commit in self._messages and (unknown := self._unknown(row.commit)):
                yield Remark(unknown)
                continue
            later = any(one.commit in self._messages for one in islice(records, place + 1, None))
            if row.commit in self._messages:
                if self._agent(row.commit) != row.agent:
                    yield f"{what} has another {AGENT_FILE} than that row"
            elif again := self._made_again(row):
                yield Remark(f"{what} was made again as {again[:12]}")
            elif self._repository.has(row.commit):
                yield f"{what} is on no branch: the history was rewritten"
            elif later and not self._repository.is_shallow:
                yield f"{what} is gone, and a later one is here: the history was rewritten"
            else:
                yield Remark(f"{what} is not in this repository: another clone, or its history was rewritten")

    def _unknown(self, commit: str) -> str:
        """Why its agent file cannot be read; "" if it can."""
        try:
            self._agent(commit)
        except UserError:
            return f"commit {commit[:12]} is here without its {AGENT_FILE}: a partial clone; compare in a whole one"
        return ""

    def _row(self, number: int, sha256: str) -> Row | None:
        return next((row for row in self._rows[number : number + 1] if row.sha256 == sha256), None)

    def _made_again(self, record: Record) -> str:
        """Another commit that names the gate of this record, and has its agent file: the history was rebased."""
        for commit, named in self._named.items():
            rows = [self._row(int(number), sha256) for number, sha256, _ in named]
            fits = any(row and row.number == record.gate for row in rows) and not self._unknown(commit)
            if fits and self._agent(commit) == record.agent:
                return commit
        return ""

    def _is_ours(self, commit: str, vault: str) -> bool:
        """If the commit does not name the vault: whether this vault ran its agent file, and not as a baseline."""
        if vault:
            return vault == self._store.id
        agent = self._agent(commit)
        baselines = {row.agent for row in self._rows if isinstance(row, Baseline)}
        return bool(self._rows) and agent in self._ran - baselines

    @cached_property
    def _ran(self) -> set[str]:
        return {agent for agent, _, _ in _trials(self._store)}

    def _agent(self, commit: str) -> str:
        """SHA-256 of its agent file; "" if it has none."""
        content = self._repository.file(commit, AGENT_FILE)
        return hashlib.sha256(content).hexdigest() if content is not None else ""

    @staticmethod
    def _words(named: Sequence[tuple[str, str, str]]) -> str:
        return "ledger row " + ", ".join(number for number, _, _ in named)
