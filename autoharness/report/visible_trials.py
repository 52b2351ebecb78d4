"""Reads the vault's trials of one settings identity, and tells which of them may be shown.

A trial's file never changes once it is there, so each is read once: a live page reads again every second.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoharness.core.outcomes import Outcome, digest, natural_order, passed
from autoharness.loop.diagnosis import what_went_wrong
from autoharness.vault.iterations import Iteration
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Measured
from autoharness.vault.store import Store

_OF_ONE_TRIAL = ("agent", "task", "trial", "seed")
"""What a trial's key has besides what the settings fix."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Kept:
    """A trial in the vault."""

    path: Path
    name: str
    """The digest of its key."""
    size: int
    """The size of its file, in bytes."""
    measured: str
    """A digest of all that its outcome depends on, except agent file, task, trial and seed."""
    outcome: Outcome
    """Without conversation, checks and database difference: `read` has them."""
    wrong: str
    """What went wrong, in words; empty if nothing did."""

    def read(self) -> Outcome:
        """The whole outcome. Raises OSError if the file was removed."""
        return Outcome.from_json(json.loads(self.path.read_text(encoding="utf-8"))["outcome"])


class Trials:
    """All evaluated trials of a vault."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Kept | None] = {}
        """By the name of its file; None for one that cannot be read."""

    def of(self, ledger: Ledger) -> list[Kept]:
        """Those of the ledger's settings identity, of any agent file and task; by task, trial and agent file."""
        paths = {path.name: path for path in self._store.trial_files()}
        for name in paths.keys() - self._known.keys():
            self._known[name] = _read(paths[name])
        measured = self._measured(ledger)
        mine = [kept for name in paths if (kept := self._known[name]) and kept.measured == measured]
        return sorted(mine, key=_place)

    def _measured(self, ledger: Ledger) -> str:
        """The digest that the trials of these settings have in common; every row with a score names some trials."""
        looks = [look for row in ledger.rows if isinstance(row, Measured) for look in row.score_looks]
        files = (self._store.trial_file(look.key).name for look in looks)
        return next((kept.measured for name in files if (kept := self._known.get(name))), "")


def _place(kept: Kept) -> tuple[tuple[int, int, str], int, str]:
    trial = kept.outcome.trial
    return natural_order(trial.task_id), trial.number, trial.agent


def train_tasks(ledger: Ledger, iterations: Iterable[Iteration]) -> list[str]:
    """The tasks whose conversations may be shown: those that versions and iterations were run on as train tasks.

    No task that any gate or confirmation of the domain ever decided on, whatever the settings are now.
    """
    seen = {task_id for row in ledger.rows if isinstance(row, Measured) for task_id in row.train}
    seen |= {task_id for one in iterations for task_id in [*one.before, *one.seen]}
    domains = {row.experiment.get("domain") for row in ledger.rows}
    same = (row for row in ledger.all_rows if row.experiment.get("domain") in domains)
    held_out = {task_id for row in same for task_id in row.tasks}
    return sorted(seen - held_out, key=natural_order)


def _read(path: Path) -> Kept | None:
    try:
        text = path.read_bytes()
        document: Json = json.loads(text)
        outcome = Outcome.from_json(document["outcome"])
        common = {name: value for name, value in document["key"].items() if name not in _OF_ONE_TRIAL}
        wrong = "" if outcome.reward is None or passed(outcome.reward) else what_went_wrong(outcome)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    slim = replace(outcome, messages=[], reward_info={}, database_diff=[])
    return Kept(path, digest(document["key"]), len(text), digest(common), slim, wrong)
