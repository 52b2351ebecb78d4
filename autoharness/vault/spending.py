"""The loop's costs, in US dollars, by role and by iteration.

Every simulation and every run of the coding agent is a line of `spending.jsonl` in the vault, written right after its
outcome is kept; if a kill came between, the next start makes up for it (`settle`).

What is not counted: calls that were given up after llm_timeout_s, workers that died, a coding agent that was killed
with us. And a simulation may cost more than any before it: max_simulation_cost_usd limits the agent's part.
"""

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoharness.core import json_lines, outcomes
from autoharness.core.files import write_text
from autoharness.core.json_lines import Followed
from autoharness.core.outcomes import Outcome, Trial, priced
from autoharness.core.settings import Experiment
from autoharness.vault.store import SPENDING, Store, now

FILE = SPENDING
CODER = "coding agent"
ROLES = (CODER, *outcomes.ROLES)
_BEGUN_WITH = "spending.begun-with"
_NAME_CHARS = 16
"""This much of a trial's name tells it from others."""


@dataclass
class Spent:
    """US dollars by role, and how much of it is assumed: only a reserved amount is known."""

    usd: dict[str, float] = field(default_factory=lambda: dict.fromkeys(ROLES, 0.0))
    simulations_usd: list[float] = field(default_factory=list)
    """The cost of each simulation."""
    assumed_usd: float = 0.0
    uncosted_calls: dict[str, int] = field(default_factory=dict)
    """By role: calls, or edits, of which nobody knows what they cost."""

    def take(self, entry: Mapping[str, Any]) -> None:
        """Add a line of the file."""
        for role, amount in entry["usd"].items():
            self.usd[role] = self.usd.get(role, 0.0) + amount
        if CODER not in entry["usd"]:
            self.simulations_usd.append(sum(entry["usd"].values()))
        self.assumed_usd += entry.get("assumed_usd", 0.0)
        for role, calls in entry.get("uncosted_calls", {}).items():
            self.uncosted_calls[role] = self.uncosted_calls.get(role, 0) + calls

    def copy(self) -> "Spent":
        return Spent(dict(self.usd), list(self.simulations_usd), self.assumed_usd, dict(self.uncosted_calls))

    @property
    def total(self) -> float:
        return sum(self.usd.values())

    @property
    def line(self) -> str:
        """Such as "$1.2000 (coding agent $0.80, agent $0.30, user $0.10, judge price unknown)"."""
        unknown = self.uncosted_calls
        parts = ", ".join(f"{role} {priced(usd, unknown.get(role, 0), 2)}" for role, usd in self.usd.items())
        assumed = f"; ${self.assumed_usd:.2f} of it assumed" if self.assumed_usd else ""
        return f"{self.sum} ({parts}{assumed})"

    @property
    def sum(self) -> str:
        """Such as "$1.2000", or "price unknown"."""
        return priced(self.total, sum(self.uncosted_calls.values()))


@dataclass
class _Known:
    """What the lines of a file say."""

    all: Spent = field(default_factory=Spent)
    by_iteration: dict[int, Spent] = field(default_factory=dict)
    trials: dict[int, set[str]] = field(default_factory=dict)
    """By iteration: `trial_name` of each simulation."""
    unreadable: int = 0

    def take(self, line: str) -> None:
        try:
            entry = json.loads(line)
            number, unknown = entry["iteration"], entry.get("uncosted_calls", {})
            amounts = [*entry["usd"].values(), entry.get("assumed_usd", 0.0), *unknown.values()]
            sound = type(number) is int and all(type(usd) in (int, float) and 0 <= usd < math.inf for usd in amounts)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            sound = False
        if not sound:
            self.unreadable += bool(line.strip())
        else:
            self.all.take(entry)
            self.by_iteration.setdefault(number, Spent()).take(entry)
            self.trials.setdefault(number, set()).add(json.dumps(entry.get("trial")))


_files = Followed(lambda _: _Known(), _Known.take)


def _known(store: Store) -> _Known:
    return _files.of(store.folder / FILE)


def spent(store: Store, iteration: int | None = None) -> Spent:
    """What the loop has spent, or one of its iterations."""
    known = _known(store)
    return (known.all if iteration is None else known.by_iteration.get(iteration, Spent())).copy()


def spent_by_iteration(store: Store) -> dict[int, Spent]:
    """What each iteration has spent."""
    return {number: one.copy() for number, one in _known(store).by_iteration.items()}


def lost_lines(store: Store) -> int:
    """How many lines are damaged, of a later version, or gone."""
    gone = store.lines_written(FILE) - json_lines.count(store.folder / FILE)
    return _known(store).unreadable + max(0, gone)


def counted_trials(store: Store, iterations: Collection[int]) -> set[str]:
    """`trial_name` of each simulation that the loop has paid for in these iterations."""
    trials = _known(store).trials
    return {name for number in iterations for name in trials.get(number, ())}


def trial_name(trial: Trial) -> str:
    """The trial's name in the lines of the file."""
    return json.dumps([trial.task_id, trial.number, trial.agent])


def cost_of(outcome: Outcome, experiment: Experiment) -> float | None:
    """What a simulation cost in US dollars. If it ran before the configuration had prices, they are applied now, with
    the full price for tokens of which it is not known whether they were cached. None if that cannot be known."""
    total = outcome.cost_usd
    for role, usage in outcome.usage.items():
        price = experiment.prices.get(experiment.model_of(role))
        if usage.uncosted_calls and not price:
            return None
        if usage.uncosted_calls and price:
            usd = usage.prompt_tokens * price["input"] + usage.completion_tokens * price["output"]
            total += max(0.0, float(usd) / 1_000_000 - usage.cost_usd)
    return total


def settle(store: Store, iteration: int) -> None:
    """After a kill: count trials that were kept since the loop began and are not counted yet.

    What somebody ran by hand meanwhile looks the same, and counts too.
    """
    is_new, counted = _new_since_begin(store), counted_trials(store, _known(store).trials)
    for path in store.trial_files():
        if is_new(path):
            try:
                outcome = Outcome.from_json(json.loads(path.read_text(encoding="utf-8"))["outcome"])
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue  # damaged: the next reader sets it aside, and says so
            if trial_name(outcome.trial) not in counted:
                store.append_line(FILE, {"time": now(), "iteration": iteration, **entry_of(outcome)})


def note_begin(store: Store) -> None:
    """Note the trials that exist as the loop begins. File times are not enough: a clock set back would hide some."""
    names = [path.stem[:_NAME_CHARS] for path in store.trial_files()]
    write_text(store.folder / _BEGUN_WITH, "".join(f"{name}\n" for name in names))


def _new_since_begin(store: Store) -> Callable[[Path], bool]:
    """A test whether a trial was kept since then. If an earlier version began it: since the last line was written."""
    try:
        known = set((store.folder / _BEGUN_WITH).read_text().split())
    except FileNotFoundError:
        meter = store.folder / FILE
        last_ns = meter.stat().st_mtime_ns if meter.exists() else 0
        return lambda path: path.stat().st_mtime_ns >= last_ns
    return lambda path: path.stem[:_NAME_CHARS] not in known


def entry_of(outcome: Outcome) -> dict[str, Any]:
    """What a line of the file says of a simulation."""
    trial, usd = outcome.trial, {role: usage.cost_usd for role, usage in outcome.usage.items()}
    unknown = {role: usage.uncosted_calls for role, usage in outcome.usage.items() if usage.uncosted_calls}
    entry = {"usd": usd, "trial": [trial.task_id, trial.number, trial.agent], "status": outcome.status}
    return entry | ({"uncosted_calls": unknown} if unknown else {})
