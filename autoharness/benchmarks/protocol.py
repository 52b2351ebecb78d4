"""The interface of a benchmark that a worker runs: tau2, or your own."""

from typing import Any, Protocol

from autoharness.benchmarks.custom import OwnBenchmark
from autoharness.benchmarks.tau2.adapter import Limits, Tau2
from autoharness.benchmarks.tau2.llm_calls import AgentLink, Complete
from autoharness.core.settings import Experiment
from autoharness.core.tasks import DomainFacts, Script

Json = dict[str, Any]


class Finished(Protocol):
    """A finished conversation."""

    @property
    def messages(self) -> list[Json]: ...
    @property
    def termination(self) -> str: ...
    @property
    def notes(self) -> list[str]: ...


class Benchmark(Protocol):
    """The docstrings of `Tau2` explain each method. `evaluate` is given what `converse` returned."""

    @property
    def folders(self) -> list[str]: ...
    def provide(self) -> None: ...
    def warm_up(self, domain: str) -> None: ...
    def facts(self, domain: str) -> DomainFacts: ...
    def material(self, domain: str) -> Json: ...
    def published(self, domain: str, task_ids: list[str]) -> Json: ...
    def converse(
        self,
        domain: str,
        task_id: str,
        seed: int,
        limits: Limits,
        link: AgentLink | None,
        complete: Complete,
        user_args: Json,
    ) -> Finished: ...
    def evaluate(self, domain: str, conversation: Any, complete: Complete) -> Json: ...
    def database_diff(self, domain: str, conversation: Any) -> list[Json]: ...
    def script(self, domain: str, task_id: str) -> Script: ...


def load(experiment: Experiment) -> Benchmark:
    """The experiment's benchmark. Raises UserError if it cannot be loaded."""
    return Tau2(experiment) if experiment.on_tau2 else OwnBenchmark(experiment)
