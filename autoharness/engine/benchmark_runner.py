"""Runs benchmark tasks with the agent in `agent/agent.py` and gives each a reward.

runner = TauBenchRunner(domain="retail", split="test", max_concurrency=3)
rewards = runner.run(task_ids=["0", "1", "42"])     {task_id: reward in [0, 1], or None}
runner.val_score(rewards)
"""

import tempfile
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from autoharness.benchmarks.simulation import Result, Simulation
from autoharness.core.errors import UserError
from autoharness.core.files import read_plain, remove_tree
from autoharness.core.outcomes import Outcome, mean, rewards_by_task
from autoharness.core.setting_checks import check_choice
from autoharness.core.setting_sources import from_settings
from autoharness.core.settings import AGENT_FILE, BENCHMARK, HARNESS, REQUIRED, Experiment
from autoharness.core.tasks import Step
from autoharness.engine.callbacks import Callback
from autoharness.engine.executor import LocalExecutor
from autoharness.engine.machine import allowed_cpus, fitting
from autoharness.engine.progress import Progress
from autoharness.engine.run_budget import RunBudget
from autoharness.engine.score_identity import Measure
from autoharness.engine.trial_keys import left_out
from autoharness.engine.trial_runner import Bench
from autoharness.engine.workers import Workers
from autoharness.llm.server_check import Found
from autoharness.vault.ledger import Ledger
from autoharness.vault.store import Store, default_vault

Json = dict[str, Any]


@dataclass(frozen=True)
class LookedAt:
    """An experiment before anything is run."""

    measure: Measure
    missing_keys: dict[str, str]
    """For each of its models that cannot be asked: what is not set."""
    unpriced: list[str]
    """Its models whose price is not known."""


class BenchmarkRunner:
    """Runs a benchmark's tasks with the agent in `agent/agent.py`.

    A subclass is your own benchmark (docs/your-benchmark.md). It needs `splits` and `simulate`; the setting
    `benchmark: module:Class` selects it. Workers import it and call `simulate` from many threads at once.
    """

    version = "1"
    """Part of every trial's key, beside the digests of the code and `data`. Change it if rewards change for another
    reason."""
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
        self._asked_for = from_settings({"benchmark": own} | settings)
        self._agent_file = agent_file
        self._given_store = store
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
        """A runner for an experiment that is already resolved. `budget`: bounds it instead of its own."""
        runner = cls.__new__(cls)  # nothing is left to resolve
        runner._asked_for, runner._agent_file = experiment, agent_file
        runner._given_store, runner._progress, runner._budget = None, progress or Progress(), budget
        runner._callbacks = callbacks
        return runner

    @cached_property
    def experiment(self) -> Experiment:
        """The settings, resolved. One default depends on the vault: `seeds`. Raises UserError."""
        if self._asked_for.seeds:
            return self._asked_for
        return replace(self._asked_for, seeds=self._store.default_seeds())

    @abstractmethod
    def splits(self) -> Mapping[str, Sequence[str]]:
        """Task ids by split: "train" for the coding agent to learn from, "test" held out; others as you like."""

    @abstractmethod
    def simulate(self, simulation: Simulation) -> Result:
        """Run one trial of `simulation.task_id` and return its result.

        An exception raised here is the benchmark's own failure, and gives no score. A mistake of the agent ends the
        simulation by itself, with 0.
        """

    def provide_data(self) -> None:
        """Called by prepare: fetch what is not there yet."""

    def secrets(self) -> Sequence[Json]:
        """What no edit of the agent file may name: each task's records and texts, such as {"order_id": "W1", ...}."""
        return []

    def reference(self, task_id: str) -> Sequence[Step]:
        """The tool calls that solve the task: the offline model plays from them."""
        raise UserError(f"{self._asked_for.benchmark} has no reference(): the offline model cannot play it")

    def val_score(self, results: Mapping[str, float | None]) -> float:
        """The mean over the tasks that were evaluated; 0.0 if none was."""
        return mean(results.values()) or 0.0

    def run(self, task_ids: list[str] | None = None) -> dict[str, float | None]:
        """Each task's reward in [0, 1]; None if infrastructure kept it from being evaluated.

        `task_ids`: the tasks to run; None runs the whole split. With several trials a task's reward is the mean over
        those that were evaluated. Raises UserError for an unknown task, RunLimitReached if a limit max_run_* ends it,
        KeyboardInterrupt after Ctrl-C, and what a callback raised. What was finished is in the store.
        """
        return rewards_by_task(self.run_trials(task_ids))

    def run_trials(self, task_ids: list[str] | None = None) -> list[Outcome]:
        """Like `run`, with a record for each trial: task, number, seed, status, reward and its checks, conversation,
        usage by role, times, and what went wrong."""
        with self.open() as bench:
            run = bench.run(task_ids, "python", reveal=True)  # the caller sees every single result
        if run.interrupted:
            raise KeyboardInterrupt
        return run.outcomes

    @contextmanager
    def workers(self) -> Iterator[LocalExecutor]:
        """Worker processes that several calls of `look` and `open` share, one after the other."""
        folder = self._store.new_run()
        try:
            with self._executor(folder) as executor:
                yield executor
        finally:
            if not any(log.stat().st_size for log in folder.iterdir()):
                remove_tree(folder)  # they said nothing

    @contextmanager
    def open(self, *others: str, workers: LocalExecutor | None = None) -> Iterator["Bench"]:
        """A bench for this agent file: several runs in a row share its workers. Raises UserError.

        `others`: the SHA-256 of further agent files in the store, whose trials can be run beside this one's.
        `workers`: ready ones to use; otherwise it starts its own.
        """
        source = self._agent_source()
        store = self._store
        folder, agent = store.new_run(), store.keep_agent(source.encode())
        agents = {agent: source, **{other: store.agent_source(other) for other in others}}
        with nullcontext(workers) if workers else self._executor(folder) as executor:
            executor.use(agents)
            measure = self._measure(executor)
            self._progress.say(*measure.not_enforced)
            budget = self._budget or RunBudget(self.experiment)
            yield Bench(measure, agent, store, executor, folder, self._progress, budget, self._callbacks)

    def measure(self) -> Measure:
        """The experiment on the installed benchmark: nothing is run, nothing is kept. Raises UserError."""
        with self._asking() as asked:
            return self._measure(asked)

    def look(self, workers: Workers | None = None) -> "LookedAt":
        """`measure()`, and which keys and prices of the experiment's models are missing. Raises UserError."""
        providers, by_name = sorted(self.experiment.provider_models), sorted(self.experiment.models_by_name)
        with nullcontext(workers) if workers else self._asking() as asked:
            measure = self._measure(asked)
            if not providers:
                return LookedAt(measure, {}, [])
            return LookedAt(measure, asked.missing_keys(by_name), asked.unpriced(providers))

    def ask_servers(self) -> list[Found]:
        """What the models answer to a few short questions. Raises UserError."""
        with self._asking() as asked:
            return asked.found_by_asking(self.experiment.domain)

    @property
    def _store(self) -> Store:
        return self._given_store or Store(default_vault())

    def _executor(self, folder: Path) -> LocalExecutor:
        """The executor, with as many conversations at a time as the limit of open files allows. Raises UserError."""
        wanted = self.experiment.max_concurrency
        if self.experiment.executor != "local":
            return _executor_of(self.experiment, folder)
        most = fitting(wanted, min(wanted, allowed_cpus()))
        if most < wanted:
            self._progress.say(
                f"ulimit -n is too low for {wanted} conversations at a time: there are {most} (ulimit -n 4096, or "
                "more, before the next start)"
            )
        return _executor_of(replace(self.experiment, max_concurrency=most), folder)

    @contextmanager
    def _asking(self) -> Iterator[Workers]:
        """A worker for questions that are not simulations."""
        with tempfile.TemporaryDirectory() as logs, Workers(self.experiment, Path(logs)) as workers:
            yield workers

    def _held_out_before(self) -> set[str]:
        """The domain's tasks that the gate ever decided on: other settings must not reveal them."""
        rows = (row for row in Ledger(self._store).all_rows if row.experiment.get("domain") == self.experiment.domain)
        return {task_id for row in rows for task_id in row.tasks}

    def _measure(self, workers: Workers) -> Measure:
        facts, store = workers.facts(self.experiment.domain), self._store
        seeds, unnamed = store.trial_seeds(), left_out(store, self.experiment)
        measure = Measure(self.experiment, facts, self._held_out_before(), seeds, unnamed)
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
            return read_plain(self._agent_file).decode()  # not read_text: line ends are part of its hash
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"{self._agent_file}: cannot be read ({error}); run from the checkout's root, or start over with: "
                f"cp agent/templates/tau_bench.py {AGENT_FILE}"
            ) from error


class TauBenchRunner(BenchmarkRunner):
    """Runs tau2-bench tasks; workers drive tau2 itself.

    The first seven arguments are the reference's; `settings` are further ones of `experiment_config.yaml`, such as
    trials=4 or max_steps=100.
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


def _executor_of(experiment: Experiment, log_folder: Path) -> LocalExecutor:
    """The experiment's executor. Raises UserError."""
    if experiment.executor == "local":
        return LocalExecutor(experiment, log_folder)
    from autoharness.engine.ray_executor import RayExecutor

    return RayExecutor(experiment, log_folder)
