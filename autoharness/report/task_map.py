"""Train tasks by edits: what passed, failed, was lost or was not run, and what changed with each edit.

A version's result in a task is its mean reward over the trials that make a score (numbers below `trials`), which all
versions have alike: further trials were bought because something had failed, and would make a version look worse.
They only show flaky tasks. A change is the difference of these results against the version that the edit was compared
with: single trials are noisy, and an edit that changes nothing changes some of them.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from autoharness.core.outcomes import mean, passed
from autoharness.report.overview import Attempt, Overview
from autoharness.report.visible_trials import Kept
from autoharness.vault.iterations import REPEATED

_MOST_LOST = 0.2
"""The share of the train tasks that a version may lack and still be a column of the failure groups."""


class State(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    PARTLY = "partly passed"
    """Passed in some of the trials that make its score."""
    LOST = "lost"
    """To infrastructure."""
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Cell:
    """One task with one version of the agent."""

    state: State
    reward: float | None = None
    flaky: bool = False
    """Whether trials of this agent file came out both ways, further trials included."""
    change: int = 0
    """1 if it went better than with the version that it was compared with, -1 if worse."""


@dataclass(frozen=True)
class Prediction:
    """What an edit was to do, and did. Only tasks count that were run with it and with its incumbent."""

    attempt: Attempt
    named: int
    run: int
    """How many of the named ones were run."""
    fixed: int
    besides: int
    """Tasks that got better without being named."""
    broken: int
    foreseen: int
    """How many of the broken ones it had named."""


class TaskMap:
    """The results of the train tasks, or of those that a page shows."""

    def __init__(
        self, overview: Overview, trials: Sequence[Kept], tasks: Sequence[str], held_out: Collection[str] = ()
    ) -> None:
        """`trials`: all of the settings identity, whatever their task. `tasks`: train tasks.

        `held_out`: tasks that a person has revealed. They have rows, and nothing else is made of them. A gate's
        trials have other numbers, so all of them count there.
        """
        self._overview, self.tasks, self._held_out = overview, tasks, set(held_out)
        self._rewards: dict[tuple[str, str], dict[int, float]] = {}
        self._wrong: dict[tuple[str, str], dict[int, str]] = {}
        for kept in trials:
            trial, reward = kept.outcome.trial, kept.outcome.reward
            if reward is not None:
                self._rewards.setdefault((trial.agent, trial.task_id), {})[trial.number] = reward
                self._wrong.setdefault((trial.agent, trial.task_id), {})[trial.number] = kept.wrong
        self._lost = _lost(overview)

    def row(self, task_id: str) -> list[Cell]:
        """The cells of the baseline, then of each attempt."""
        baseline = self._cell(self._overview.baseline.row.agent, task_id)
        return [baseline, *(self._changed(attempt, task_id) for attempt in self._overview.attempts)]

    def now(self, task_id: str) -> Cell:
        """The cell with the best version."""
        return self._cell(self._overview.best.row.agent, task_id)

    def wrong(self, task_id: str) -> list[str]:
        """Everything that ever went wrong in it."""
        agents = self._overview.names
        return sorted({what for agent in agents for what in self._wrong.get((agent, task_id), {}).values() if what})

    def changes(self, attempt: Attempt) -> tuple[list[str], list[str]]:
        """The tasks that went better with it than before, and those that went worse."""
        changed = {task_id: self._changed(attempt, task_id).change for task_id in self.tasks}
        better, worse = ([task_id for task_id in self.tasks if changed[task_id] == way] for way in (1, -1))
        return better, worse

    @cached_property
    def predictions(self) -> list[Prediction]:
        """The predictions of the edits that were run on train tasks."""
        return [found for one in self._overview.attempts if (found := self._prediction(one))]

    @cached_property
    def repeated(self) -> tuple[int, int]:
        """How often a task was run more than once with one agent file, and how often that came out both ways."""
        counts = [
            len({passed(reward) for reward in rewards.values()})
            for (agent, task_id), rewards in self._rewards.items()
            if len(rewards) > 1 and task_id in set(self.tasks) and agent in self._overview.names
        ]
        return len(counts), counts.count(2)

    @cached_property
    def complete(self) -> list[str]:
        """The agent files of kept versions that were run on the train tasks, except what infrastructure lost."""
        agents = [version.row.agent for version in self._overview.ledger.versions]
        enough = (1 - _MOST_LOST) * len(self.tasks)
        return [
            agent for agent in agents if sum(self._reward(agent, task) is not None for task in self.tasks) >= enough
        ]

    @cached_property
    def groups(self) -> dict[str, list[int]]:
        """For each group of failures, the largest first: how many tasks fail in it, with each of `complete`.

        Counted over the tasks that all of these were run on, by the first trial that failed.
        """
        shared = [task for task in self.tasks if all(self._reward(one, task) is not None for one in self.complete)]
        counts = [
            Counter(filter(None, (self._first_wrong(agent, task) for task in shared))) for agent in self.complete
        ]
        total = sum(counts, Counter())
        return {what: [count[what] for count in counts] for what, _ in sorted(total.items(), key=lambda one: -one[1])}

    def _prediction(self, attempt: Attempt) -> Prediction | None:
        edit = attempt.iteration.edit if attempt.iteration else None
        run = {task_id for task_id in self.tasks if self._pair(attempt, task_id)}
        if not edit or not run:
            return None
        better, worse = self.changes(attempt)
        named = [task_id for task_id in edit.fixes if task_id in self.tasks]
        fixed = sum(task_id in better for task_id in named)
        foreseen = sum(task_id in edit.breaks for task_id in worse)
        looked_at = sum(task_id in run for task_id in named)
        return Prediction(attempt, len(named), looked_at, fixed, len(better) - fixed, len(worse), foreseen)

    def _changed(self, attempt: Attempt, task_id: str) -> Cell:
        cell, pair = self._cell(attempt.agent, task_id), self._pair(attempt, task_id)
        change = (pair[1] > pair[0]) - (pair[1] < pair[0]) if pair and cell.state != State.LOST else 0
        return Cell(cell.state, cell.reward, cell.flaky, change)

    def _pair(self, attempt: Attempt, task_id: str) -> tuple[float, float] | None:
        """The rewards of incumbent and edit, over the trials of a score that both have; None if there are none."""
        if attempt.end == REPEATED:  # its trials are an earlier attempt's
            return None
        before, after = (dict(self._scored(agent, task_id)) for agent in (attempt.incumbent, attempt.agent))
        both = sorted(before.keys() & after.keys())
        if not both:
            return None
        return mean(before[number] for number in both) or 0.0, mean(after[number] for number in both) or 0.0

    def _cell(self, agent: str, task_id: str) -> Cell:
        rewards = [reward for _, reward in self._scored(agent, task_id)]
        if (agent, task_id) in self._lost and len(rewards) < self._overview.trials:
            return Cell(State.LOST)
        if not rewards:
            return Cell(State.NOT_RUN)
        passes = sum(map(passed, rewards))
        state = State.PASSED if passes == len(rewards) else State.PARTLY if passes else State.FAILED
        every = {passed(reward) for reward in self._rewards[agent, task_id].values()}
        return Cell(state, mean(rewards), len(every) > 1)

    def _reward(self, agent: str, task_id: str) -> float | None:
        return self._cell(agent, task_id).reward

    def _first_wrong(self, agent: str, task_id: str) -> str:
        wrong = self._wrong.get((agent, task_id), {})
        return next((wrong[number] for number, _ in self._scored(agent, task_id) if wrong[number]), "")

    def _scored(self, agent: str, task_id: str) -> Iterator[tuple[int, float]]:
        """Numbers and rewards of the trials that make its score, in order."""
        rewards: Mapping[int, float] = self._rewards.get((agent, task_id), {})
        most = math.inf if task_id in self._held_out else self._overview.trials
        yield from ((number, rewards[number]) for number in sorted(rewards) if number < most)


def _lost(overview: Overview) -> set[tuple[str, str]]:
    """Agent files and tasks that lost a trial to infrastructure, by the newest record of each."""
    said: dict[tuple[str, str], float | None] = {}
    for version in overview.ledger.versions:
        said |= {(version.row.agent, task_id): reward for task_id, reward in version.row.train.items()}
    for one in (attempt.iteration for attempt in overview.attempts):
        if one:
            said |= {(one.incumbent, task_id): reward for task_id, reward in one.before.items()}
            agent = one.edit.agent if one.edit else ""
            said |= {(agent, task_id): reward for task_id, reward in one.seen.items()}
    return {place for place, reward in said.items() if reward is None}
