"""What the loop spends, in US dollars, by whom; and when it has to stop.

Every simulation and every run of the coding agent is a line of `spending.jsonl` in the vault, written right after its
outcome is kept; where a kill came between, the next start makes up for it (`settle`). A simulation is begun only
where the dearest one so far still fits under `max_usd`, for each that is in flight and for this one; likewise an edit
with its `coding_agent_usd`.

What no meter sees: calls that were given up after llm_timeout_s, workers that died, a coding agent that was killed
with us. And a simulation may be dearer than any before it: max_simulation_cost_usd bounds the agent's part.
"""

import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from autoharness import results
from autoharness.budget import RunBudget
from autoharness.config import Experiment
from autoharness.results import Outcome, Trial
from autoharness.store import Store, now

FILE = "spending.jsonl"
CODER = "coding agent"
ROLES = (CODER, *results.ROLES)
_ROUNDING = 1e-9


@dataclass
class Spent:
    """US dollars by role, and how much of it is no more than what was reserved for it."""

    usd: dict[str, float] = field(default_factory=lambda: dict.fromkeys(ROLES, 0.0))
    simulations_usd: list[float] = field(default_factory=list)
    """Of each simulation."""
    assumed_usd: float = 0.0

    def take(self, entry: Mapping[str, Any]) -> None:
        """Add a line of the file."""
        for role, amount in entry["usd"].items():
            self.usd[role] = self.usd.get(role, 0.0) + amount
        if CODER not in entry["usd"]:
            self.simulations_usd.append(sum(entry["usd"].values()))
        self.assumed_usd += entry.get("assumed_usd", 0.0)

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
    for number, entry in _entries(store):
        if iteration in (None, number):
            found.take(entry)
    return found


def spent_by_iteration(store: Store) -> dict[int, Spent]:
    """What each iteration has spent."""
    found: dict[int, Spent] = {}
    for number, entry in _entries(store):
        found.setdefault(number, Spent()).take(entry)
    return found


def counted_trials(store: Store, iterations: Collection[int]) -> set[str]:
    """`trial_name` of each simulation that the loop has paid for in these iterations."""
    return {json.dumps(entry.get("trial")) for number, entry in _entries(store) if number in iterations}


def trial_name(trial: Trial) -> str:
    """As lines of the file name it."""
    return json.dumps([trial.task_id, trial.number, trial.agent])


def _entries(store: Store) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line, with the number of its iteration; not one that a kill cut short, or that says no amounts."""
    for line in store.read_lines(FILE):
        try:
            entry = json.loads(line)
            number, amounts = entry["iteration"], [*entry["usd"].values(), entry.get("assumed_usd", 0.0)]
            sound = type(number) is int and all(type(usd) in (int, float) and 0 <= usd < math.inf for usd in amounts)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            continue
        if sound:
            yield number, entry


def cost_of(outcome: Outcome, experiment: Experiment) -> float | None:
    """What a simulation cost, by the prices of the configuration where it was run before they stood there. None where
    that cannot be known."""
    total = outcome.cost_usd
    for role, usage in outcome.usage.items():
        price = experiment.prices.get(experiment.model_of(role))
        if usage.uncosted_calls and not price:
            return None
        if usage.uncosted_calls and price:
            usd = usage.prompt_tokens * price["input"] + usage.completion_tokens * price["output"]
            total += float(usd) / 1_000_000
    return total


def settle(store: Store, iteration: int) -> None:
    """After a kill: count what was kept and not counted yet, which is what is newer than the last line.

    What somebody ran by hand meanwhile looks the same, and counts too.
    """
    meter = store.folder / FILE
    last_ns = meter.stat().st_mtime_ns if meter.exists() else 0
    counted = {json.dumps(entry.get("trial")) for _, entry in _entries(store)}
    for path in sorted((store.folder / "trials").glob("*.json")):
        if path.stat().st_mtime_ns >= last_ns:
            outcome = Outcome.from_json(json.loads(path.read_text(encoding="utf-8"))["outcome"])
            entry = _entry_of(outcome)
            if json.dumps(entry["trial"]) not in counted:
                store.append_line(FILE, {"time": now(), "iteration": iteration, **entry})


def _entry_of(outcome: Outcome) -> dict[str, Any]:
    trial, usd = outcome.trial, {role: usage.cost_usd for role, usage in outcome.usage.items()}
    return {"usd": usd, "trial": [trial.task_id, trial.number, trial.agent], "status": outcome.status}


class LoopBudget(RunBudget):
    """The limits max_run_* over the whole command, max_usd over all of them, and whatever else asks it to stop."""

    def __init__(
        self, experiment: Experiment, store: Store, known: Iterable[Outcome], stop_reason: Callable[[], str]
    ) -> None:
        """`known`: simulations that were run before. `stop_reason`: why to begin nothing more, or ""."""
        super().__init__(experiment)
        self._store = store
        before = spent(store)
        self._total = before.total
        costs = [cost for outcome in known if (cost := cost_of(outcome, experiment)) is not None]
        self._dearest_usd = max([*costs, *before.simulations_usd], default=None)
        """None where no simulation says what one costs: then there is one at a time."""
        self._stop_reason = stop_reason
        self.iteration = 0

    def add(self, outcome: Outcome) -> None:
        super().add(outcome)
        self._dearest_usd = max(self._dearest_usd or 0.0, outcome.cost_usd)
        self._note(_entry_of(outcome))

    def add_edit(self, cost_usd: float | None) -> None:
        """An edit that does not say what it cost is charged with what was reserved for it."""
        reserved = self._experiment.coding_agent_usd or 0.0
        known = cost_usd is not None
        self._note({"usd": {CODER: cost_usd if known else reserved}, **({} if known else {"assumed_usd": reserved})})

    def has_room(self, in_flight: int) -> bool:
        if self._dearest_usd is None and self._experiment.max_usd is not None:
            return in_flight == 0 and not self._over(0.0)
        return not self._over((in_flight + 1) * (self._dearest_usd or 0.0))

    @property
    def reached(self) -> str:
        stop = super().reached or self._stop_reason()
        return stop or (self._limit_line() if self._over(self._dearest_usd or 0.0) else "")

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

    def _note(self, entry: dict[str, Any]) -> None:
        self._total += sum(entry["usd"].values())
        self._store.append_line(FILE, {"time": now(), "iteration": self.iteration, **entry})
