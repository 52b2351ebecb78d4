"""What the loop may still spend: max_usd over all its commands, and the limits max_run_* over this one.

A simulation begins only if the cost of the dearest one so far still fits under `max_usd`, for each one in flight and
for this one; likewise an edit with its `coding_agent_usd`.
"""

from collections.abc import Callable, Iterable
from typing import Any

from autoharness.core.errors import UserError
from autoharness.core.outcomes import Outcome
from autoharness.core.settings import Experiment
from autoharness.engine.run_budget import RunBudget
from autoharness.vault.spending import CODER, FILE, cost_of, entry_of, lost_lines, spent
from autoharness.vault.store import Store, now

_ROUNDING = 1e-9


class LoopBudget(RunBudget):
    """The limits max_run_* over the whole command, max_usd over all commands, and any other reason to stop."""

    def __init__(
        self, experiment: Experiment, store: Store, known: Iterable[Outcome], stop_reason: Callable[[], str]
    ) -> None:
        """`known`: simulations that were run before. `stop_reason`: why to begin nothing more, or "".

        Raises UserError if lines of the file cannot be read and max_usd counts them.
        """
        super().__init__(experiment)
        self._store = store
        if experiment.max_usd is not None and (lost := lost_lines(store)):
            raise UserError(
                f"{store.folder / FILE}: {lost} lines are damaged or gone, so nobody knows what was spent, and "
                "max_usd cannot be kept: restore the file, or take max_usd out"
            )
        before = spent(store)
        self._total = before.total
        costs = [cost for outcome in known if (cost := cost_of(outcome, experiment)) is not None]
        self._dearest_usd = max([*costs, *before.simulations_usd], default=None)
        """None if no simulation says what one costs: then there is one at a time."""
        self._stop_reason = stop_reason
        self.iteration = 0

    def add(self, outcome: Outcome) -> None:
        super().add(outcome)
        self._dearest_usd = max(self._dearest_usd or 0.0, outcome.cost_usd)
        self._note(entry_of(outcome))

    def add_edit(self, cost_usd: float | None) -> None:
        """An edit that does not say what it cost is charged with what was reserved for it."""
        reserved = self._experiment.coding_agent_usd or 0.0
        entry: dict[str, Any] = {"usd": {CODER: reserved if cost_usd is None else cost_usd}}
        if cost_usd is None:
            entry |= {"assumed_usd": reserved} if reserved else {"uncosted_calls": {CODER: 1}}
        self._note(entry)

    def has_room(self, in_flight: int) -> bool:
        if self._dearest_usd is None and self._experiment.max_usd is not None:
            return in_flight == 0 and not self._over(0.0)
        return not self._over((in_flight + 1) * (self._dearest_usd or 0.0))

    @property
    def reached(self) -> str:
        stop = super().reached or self._stop_reason()
        return stop or (self._limit_line() if self._over(self._dearest_usd or 0.0) else "")

    def check_edit(self) -> str:
        """Why no edit may begin; "" if one may."""
        stop = super().reached or self._stop_reason()
        return stop or (self._limit_line() if self._over(self._experiment.coding_agent_usd or 0.0) else "")

    def _over(self, reserve_usd: float) -> bool:
        most = self._experiment.max_usd
        return most is not None and self._total + reserve_usd > most + _ROUNDING

    def _limit_line(self) -> str:
        most = self._experiment.max_usd or 0.0
        return f"max_usd: {self._total:.4f} of {most:g} USD spent, and what comes next could pass it"

    def _note(self, entry: dict[str, Any]) -> None:
        self._total += sum(entry["usd"].values())
        self._store.append_line(FILE, {"time": now(), "iteration": self.iteration, **entry})
