"""What a score depends on beside the agent file. Scores compare only where that is equal."""

import random
from pathlib import Path
from typing import Any

from autoharness.config import OFFLINE, Experiment
from autoharness.offline import fingerprint
from autoharness.replay import PREFIX as REPLAY
from autoharness.replay import checksum
from autoharness.results import Trial, digest

ISOLATION = "process"

Json = dict[str, Any]


class Measure:
    """An experiment on the tau2 that is installed. Raises UserError for a recording that cannot be read."""

    def __init__(self, experiment: Experiment, facts: Json) -> None:
        """`facts`: tau's DomainFacts, as JSON."""
        self.experiment = experiment
        self.facts = facts
        self.tau2 = {name: facts[name] for name in ("flavour", "version", "data_checksum")}
        self._common_key = {
            "tau2": self.tau2,
            "domain": experiment.domain,
            "models": {role: _model_key(experiment.model_of(role)) for role in ("agent", "user", "judge")},
            "arguments": [experiment.agent_llm_args, experiment.user_llm_args, experiment.reasoning_effort],
            "limits": [
                experiment.max_steps,
                experiment.max_errors,
                experiment.max_llm_calls,
                experiment.max_simulation_cost_usd,
                experiment.agent_timeout_s,
            ],
            "isolation": ISOLATION,
        }

    @property
    def id(self) -> str:
        """A digest that is equal for experiments whose held-out scores and verdicts compare."""
        settings = self.experiment
        return digest([self._common_key, self.gate_tasks, settings.seed, settings.trials, settings.threshold])

    @property
    def words(self) -> str:
        """The measure for a person, such as "retail test, 40 tasks, gpt-5.4"."""
        trials = f" x {self.experiment.trials} trials" if self.experiment.trials > 1 else ""
        tasks = f"{len(self.gate_tasks)} tasks{trials}"
        return f"{self.experiment.domain} {self.experiment.gate_split}, {tasks}, {self.experiment.agent_model}"

    @property
    def gate_tasks(self) -> list[str]:
        tasks: list[str] = self.facts["splits"][self.experiment.gate_split]
        return tasks

    @property
    def held_out_splits(self) -> list[set[str]]:
        """The ids of each split whose single results stay hidden.

        The gate's split; and `test` whatever the gate uses, or a changed setting would lay it open.
        """
        splits = self.facts["splits"]
        return [set(splits[name]) for name in sorted({self.experiment.gate_split, "test"}) if name in splits]

    @property
    def held_out(self) -> set[str]:
        """The ids of all tasks whose single results stay hidden."""
        return set().union(*self.held_out_splits)

    @property
    def train(self) -> list[str]:
        """The train tasks, but for those that are held out all the same."""
        return [task_id for task_id in self.facts["splits"]["train"] if task_id not in self.held_out]

    def trials(self, task_ids: list[str]) -> list[Trial]:
        """Every trial of every task; the seeds are those that tau2's own runner draws from the root seed."""
        generator = random.Random(self.experiment.seed)
        seeds = [generator.randint(0, 1_000_000) for _ in range(self.experiment.trials)]
        return [Trial(task_id, number, seed) for number, seed in enumerate(seeds) for task_id in task_ids]

    def key(self, trial: Trial, agent: str) -> Json:
        """All that the outcome of a trial depends on; `agent` is the SHA-256 of the agent file."""
        own = {"agent": agent, "task": trial.task_id, "trial": trial.number, "seed": trial.seed}
        return self._common_key | own


def _model_key(model: str) -> str:
    """What stands for a model in a trial's key: a recording by its contents, the offline model by its code."""
    if model.startswith(REPLAY):
        return f"{REPLAY}{checksum(Path(model.removeprefix(REPLAY)))}"
    if model.startswith(OFFLINE):
        return f"{model} {fingerprint()}"
    return model
