"""Runs in progress, for the dashboard and the live page: each run notes its state in its folder of the vault.

A run holds a lock on that folder. The kernel releases it however the run ends, so the last note of a killed run is
not taken for a run in progress. Of held-out tasks a run notes how many are in flight, never which.
"""

import fcntl
import json
import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autoharness.core.files import is_locked
from autoharness.core.outcomes import Trial
from autoharness.core.redaction import one_line
from autoharness.engine.executor import Watch
from autoharness.engine.progress import Progress
from autoharness.vault.store import Store, now

_FILE = "live.json"


@dataclass(frozen=True)
class InFlight:
    """A simulation of a train task."""

    task: str
    since: str


@dataclass(frozen=True)
class RateLimit:
    """How often a model's provider said "too many"."""

    times: int
    pause_s: float
    """How long the newest pause is."""
    at: str


@dataclass(frozen=True)
class Going:
    """A run that is under way."""

    what: str
    total: int
    done: int
    facts: str
    """Such as "passed 7, failed 4, $0.1234"."""
    at_most: bool
    """Whether fewer simulations may be enough."""
    in_flight: list[InFlight] = field(default_factory=list)
    held_out: int = 0
    """How many simulations of held-out tasks are in flight."""
    rate_limits: dict[str, RateLimit] = field(default_factory=dict)
    """By model."""
    waits: str = ""
    """What the run waits for, such as a model that is down; empty while it begins simulations."""


class Live(Watch):
    """Notes the state of a run. Use as a context manager. If a note cannot be written, the run goes on without it."""

    def __init__(self, folder: Path, progress: Progress, what: str, held_out: Collection[str], at_most: bool) -> None:
        """`progress`: this run's, which has begun. `held_out`: tasks that must not be named."""
        self._file, self._progress, self._what = folder / _FILE, progress, what
        self._held_out, self._at_most = set(held_out), at_most
        self._in_flight: dict[Trial, str] = {}
        self._rate_limits: dict[str, RateLimit] = {}
        self._waits = ""

    def __enter__(self) -> "Live":
        self._folder = os.open(self._file.parent, os.O_RDONLY)
        fcntl.flock(self._folder, fcntl.LOCK_EX)  # a reader holds it for an instant
        self._note()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.unlink(missing_ok=True)
        os.close(self._folder)

    def begun(self, trial: Trial) -> None:
        self._in_flight[trial] = now()
        self._waits = ""
        self._note()

    def ended(self, trial: Trial) -> None:
        self._in_flight.pop(trial, None)
        self._note()

    def limited(self, model: str, pause_s: float) -> None:
        before = self._rate_limits.get(model, RateLimit(0, 0.0, ""))
        self._rate_limits[model] = RateLimit(before.times + 1, pause_s, now())
        self._note()

    def waits(self, why: str) -> None:
        self._progress.say(why)
        self._waits = one_line(why)
        self._note()

    def _note(self) -> None:
        shown = {trial: since for trial, since in self._in_flight.items() if trial.task_id not in self._held_out}
        going = Going(
            what=self._what,
            total=self._progress.total,
            done=self._progress.done,
            facts=self._progress.facts,
            at_most=self._at_most,
            in_flight=[InFlight(trial.task_id, since) for trial, since in shown.items()],
            held_out=len(self._in_flight) - len(shown),
            rate_limits=self._rate_limits,
            waits=self._waits,
        )
        with suppress(OSError):  # beside and renamed, but not synced: nobody needs it after a power cut
            beside = self._file.with_suffix(".new")
            beside.write_text(json.dumps(asdict(going)), encoding="utf-8")
            beside.replace(self._file)


def going(store: Store) -> list[Going]:
    """The runs that are under way, the newest first."""
    files = sorted((store.folder / "runs").glob(f"*/{_FILE}"), reverse=True)
    return [run for file in files if is_locked(file.parent) and (run := _read(file))]


def _read(file: Path) -> Going | None:
    try:
        fields: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        fields["in_flight"] = [InFlight(**one) for one in fields["in_flight"]]
        fields["rate_limits"] = {model: RateLimit(**one) for model, one in fields["rate_limits"].items()}
        return Going(**fields)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
