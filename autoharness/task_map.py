"""Train tasks by attempts: what passed, what failed, what flipped, what flakes, and what was not run.

A held-out task is never in it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from autoharness.overview import Attempt, Overview
from autoharness.results import Rewards, passed
from autoharness.trials import Kept


class State(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    FLAKY = "flaky"
    """Passed in some trials of the same agent file and failed in others."""
    LOST = "lost"
    """To infrastructure."""
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Cell:
    """One task with one version of the agent."""

    state: State
    change: str = ""
    """"fixed" or "broken", against the version it was compared with, where both are clear."""
    passes: int = 0
    trials: int = 0

    @property
    def words(self) -> str:
        count = f", {self.passes} of {self.trials} trials passed" if self.trials > 1 else ""
        return f"{self.state}{f', {self.change}' if self.change else ''}{count}"


@dataclass(frozen=True)
class TaskRow:
    task_id: str
    cells: Sequence[Cell]
    """Of the baseline, then of each attempt."""
    now: State
    """With the best version."""
    wrong: Sequence[str]
    """What ever went wrong with it."""

    @property
    def flipped(self) -> bool:
        return any(cell.change for cell in self.cells)

    @property
    def flaky(self) -> bool:
        return any(cell.state == State.FLAKY for cell in self.cells)


def task_rows(overview: Overview, trials: Sequence[Kept], train: Sequence[str]) -> list[TaskRow]:
    """A row for each train task."""
    rewards: dict[tuple[str, str], list[float]] = {}
    wrong: dict[str, set[str]] = {}
    for kept in trials:
        if kept.outcome.reward is not None:
            trial = kept.outcome.trial
            rewards.setdefault((trial.agent, trial.task_id), []).append(kept.outcome.reward)
            wrong.setdefault(trial.task_id, set()).update(filter(None, [kept.wrong]))
    best = overview.best.row.agent
    rows = []
    for task_id in train:
        clear = {agent: _cell(rewards.get((agent, task_id), [])) for agent in overview.names}
        cells = [clear[overview.baseline.row.agent], *(_of(attempt, task_id, clear) for attempt in overview.attempts)]
        rows.append(TaskRow(task_id, cells, clear[best].state, sorted(wrong.get(task_id, ()))))
    return rows


def groups_by_version(overview: Overview, trials: Sequence[Kept], train: Sequence[str]) -> dict[str, list[int]]:
    """For each group of failures, the largest first: how many train tasks each kept version fails in it.

    By each task's first failed trial, among those that every version was run on.
    """
    agents, tasks = [version.row.agent for version in overview.ledger.versions], set(train)
    first: dict[tuple[str, str], str] = {}
    for kept in trials:
        trial = kept.outcome.trial
        if kept.wrong and trial.task_id in tasks and trial.number < overview.trials:
            first.setdefault((trial.agent, trial.task_id), kept.wrong)
    counts = [Counter(what for (whose, _), what in first.items() if whose == agent) for agent in agents]
    total = sum(counts, Counter())
    return {what: [count[what] for count in counts] for what, _ in sorted(total.items(), key=lambda one: -one[1])}


def _of(attempt: Attempt, task_id: str, clear: dict[str, Cell]) -> Cell:
    cell, before = clear.get(attempt.agent, Cell(State.NOT_RUN)), clear.get(attempt.incumbent, Cell(State.NOT_RUN))
    if cell.state == State.NOT_RUN:
        return Cell(State.LOST) if _lost(attempt, task_id) else cell
    changes = {(State.FAILED, State.PASSED): "fixed", (State.PASSED, State.FAILED): "broken"}
    return Cell(cell.state, changes.get((before.state, cell.state), ""), cell.passes, cell.trials)


def _lost(attempt: Attempt, task_id: str) -> bool:
    seen: Rewards = attempt.iteration.seen if attempt.iteration else {}
    return task_id in seen and seen[task_id] is None


def _cell(rewards: Sequence[float]) -> Cell:
    passes = sum(map(passed, rewards))
    if not rewards:
        return Cell(State.NOT_RUN)
    state = State.PASSED if passes == len(rewards) else State.FLAKY if passes else State.FAILED
    return Cell(state, "", passes, len(rewards))
