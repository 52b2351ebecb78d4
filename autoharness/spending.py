"""What the loop spends, in US dollars, by whom; and when it has to stop.

Every simulation and every run of the coding agent is a line of `spending.jsonl` in the vault, written before its
outcome is kept: a kill in between counts it, and it is run again. A simulation is begun only where the dearest one
so far, for each that is in flight and for this one, still fits under `max_usd`; likewise an edit with its
`coding_agent_usd`.

What no meter sees: calls that were given up after llm_timeout_s, workers that died, a coding agent that was killed
with us. And a simulation may be dearer than any before it: max_simulation_cost_usd bounds the agent's part.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from autoharness.budget import RunBudget
from autoharness.config import Experiment
from autoharness.results import Outcome
from autoharness.store import Store, now

FILE = "spending.jsonl"
CODER = "coding agent"
ROLES = (CODER, "agent", "user", "judge")
_ROUNDING = 1e-9


@dataclass
class Spent:
    """US dollars by role, and how much of it is no more than what was reserved for it."""

    usd: dict[str, float] = field(default_factory=lambda: dict.fromkeys(ROLES, 0.0))
    simulations: int = 0
    assumed_usd: float = 0.0

    def add(self, usd: Mapping[str, float]) -> None:
        for role, amount in usd.items():
            self.usd[role] = self.usd.get(role, 0.0) + amount

    @property
    def total(self) -> float:
        return sum(self.usd.values())

    @property
    def line(self) -> str:
        """Such as "$1.2000 (coding agent $0.80, agent $0.30, user $0.10, judge $0.00)"."""
        parts = ", ".join(f"{role} ${amount:.2f}" for role, amount in self.usd.items())
        assumed = f"; ${self.assumed_usd:.2f} of it assumed" if self.assumed_usd else ""
        return f"${self.total:.4f} ({parts}{assumed})"


def spent(store: Store, iteration: int | None = None) -> Spent:
    """What the loop has spent, or one of its iterations."""
    found = Spent()
    for line in store.read_lines(FILE):
        try:
            entry = json.loads(line)
            mine = iteration is None or entry["iteration"] == iteration
        except (ValueError, KeyError, TypeError):
            continue  # a kill cut it short
        if mine:
            found.add(entry["usd"])
            found.simulations += CODER not in entry["usd"]
            found.assumed_usd += entry.get("assumed_usd", 0.0)
    return found


class LoopBudget(RunBudget):
    """The limits max_run_* over the whole command, max_usd over all of them, and whatever else asks it to stop."""

    def __init__(
        self, experiment: Experiment, store: Store, dearest_usd: float, stop_reason: Callable[[], str]
    ) -> None:
        """`dearest_usd`: of the simulations that were run before. `stop_reason`: why to begin nothing more, or ""."""
        super().__init__(experiment)
        self._store = store
        self._total = spent(store).total
        self._dearest_usd = dearest_usd
        self._stop_reason = stop_reason
        self.iteration = 0

    def add(self, outcome: Outcome) -> None:
        super().add(outcome)
        usd = {role: usage.cost_usd for role, usage in outcome.usage.items()}
        self._dearest_usd = max(self._dearest_usd, outcome.cost_usd)
        trial = outcome.trial
        self._note({"usd": usd, "trial": [trial.task_id, trial.number, trial.agent], "status": outcome.status})

    def add_edit(self, cost_usd: float | None) -> None:
        """An edit that does not say what it cost is charged with what was reserved for it."""
        reserved = self._experiment.coding_agent_usd or 0.0
        known = cost_usd is not None
        self._note({"usd": {CODER: cost_usd if known else reserved}, **({} if known else {"assumed_usd": reserved})})

    def has_room(self, in_flight: int) -> bool:
        return not self._over((in_flight + 1) * self._dearest_usd)

    @property
    def reached(self) -> str:
        stop = super().reached or self._stop_reason()
        return stop or (self._limit_line() if self._over(self._dearest_usd) else "")

    def check_edit(self) -> str:
        """Why no edit may be begun; "" where it may."""
        stop = super().reached or self._stop_reason()
        return stop or (self._limit_line() if self._over(self._experiment.coding_agent_usd or 0.0) else "")

    def _over(self, reserve_usd: float) -> bool:
        most = self._experiment.max_usd
        return most is not None and self._total + reserve_usd > most + _ROUNDING

    def _limit_line(self) -> str:
        most = self._experiment.max_usd or 0.0
        return f"max_usd: {self._total:.4f} of {most:g} USD spent, and what comes next could pass it"

    def _note(self, entry: dict[str, object]) -> None:
        usd = entry["usd"]
        assert isinstance(usd, dict)
        self._total += sum(usd.values())
        self._store.append_line(FILE, {"time": now(), "iteration": self.iteration, **entry})
