"""What one command may spend on LLM calls: the limits max_run_*, over agent, user simulator and judge.

New simulations are counted as each one ends; those in the store were paid for before. So the simulations in flight
when a limit is reached, up to max_concurrency, go beyond it: bound each of them by max_simulation_tokens or
max_simulation_cost_usd. Not counted: calls that failed or were given up after llm_timeout_s, and simulations whose
worker died. The limits are no part of the settings identity: no outcome depends on them.
"""

from autoharness.core.outcomes import Outcome, Usage
from autoharness.core.settings import Experiment


class RunBudget:
    """Counts what one command spends."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._spent = Usage()

    def add(self, outcome: Outcome) -> None:
        self._spent = sum(outcome.usage.values(), self._spent)

    def has_room(self, in_flight: int) -> bool:
        """Whether one more simulation may begin beside this many."""
        return True

    @property
    def reached(self) -> str:
        """The limit and the amount, such as "max_run_tokens: 1234 of 1000 tokens spent"; "" if none is reached."""
        settings, spent = self._experiment, self._spent
        if settings.max_run_llm_calls is not None and spent.calls >= settings.max_run_llm_calls:
            return f"max_run_llm_calls: {spent.calls} of {settings.max_run_llm_calls} LLM calls spent"
        if settings.max_run_tokens is not None and spent.tokens >= settings.max_run_tokens:
            return f"max_run_tokens: {spent.tokens} of {settings.max_run_tokens} tokens spent"
        if settings.max_run_cost_usd is not None and spent.cost_usd >= settings.max_run_cost_usd:
            return f"max_run_cost_usd: {spent.cost_usd:.4f} of {settings.max_run_cost_usd:g} USD spent"
        return ""
