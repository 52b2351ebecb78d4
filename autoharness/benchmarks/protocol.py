"""The interface of a benchmark that a worker runs: tau2, or your own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from autoharness.core.tasks import DomainFacts, Script

Json = dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """tau2's own limits on one conversation."""

    max_steps: int
    max_errors: int


class AgentLink(Protocol):
    """The agent of one simulation, wherever it runs. Both methods raise SimulationError."""

    waited_s: float
    """How long it has waited for its LLM so far."""

    def start(self, tools: list[Json], domain_policy: str, llm_args: Json, history: list[Json]) -> None: ...

    def next(self, message: Json) -> Json:
        """The answer: {"content": str | None, "tool_calls": [{"id", "name", "arguments"}], "cost_usd": float}.

        With "finish_reason": "length" if its text ended at a limit of the LLM's tokens.
        """


Complete = Callable[[str, Json], Json]
"""Answers a chat completion request of "user", "judge", or "agent" (a baseline agent). Raises SimulationError."""


class Finished(Protocol):
    """A finished conversation."""

    @property
    def messages(self) -> list[Json]: ...
    @property
    def termination(self) -> str: ...
    @property
    def notes(self) -> list[str]: ...


class Benchmark(Protocol):
    """`Tau2` has a docstring for each method. The argument `conversation` is what `converse` returned."""

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
