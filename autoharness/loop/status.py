"""The loop's status: what it notes at every step, and what `optimize.py --status` prints, from any terminal."""

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from autoharness.core.files import write_json
from autoharness.core.outcomes import known_fields, passed
from autoharness.core.redaction import one_line
from autoharness.engine.live_runs import going
from autoharness.loop.worktree import PREFIX, Worktree
from autoharness.vault.iterations import Iteration, Iterations
from autoharness.vault.ledger import Ledger
from autoharness.vault.spending import note_begin, settle, spent
from autoharness.vault.store import Store, now

_FILE, _LIMITS = "loop.json", "limits.json"
LOOP_LOCK = "loop.lock"
"""The lock that the loop holds as long as it runs, besides the lock that every command takes."""
_NEWEST = 5


class Phase(StrEnum):
    """The phases of an iteration, in this order, as `loop.json` stores them."""

    STARTING = "starting"
    TRAIN = "train"
    EDIT = "edit"
    SCREENING = "screening"
    GATE = "gate"
    COMMIT = "commit"
    LEARN = "learn"


@dataclass(frozen=True)
class Note:
    """What the loop noted last; all empty if it was never started."""

    iteration: int = 0
    phase: str = ""
    since: str = ""
    worktree: str = ""
    ended: str = ""
    """Why it ended; empty while it runs, and if it was killed."""
    pid: int = 0

    def words(self, running: bool) -> str:
        """`running`: whether the loop runs."""
        if not self.since:
            return "was never started here"
        if self.ended:
            return f"ended on {self.since}: {one_line(self.ended, 400)}"
        what = f"iteration {self.iteration}, {self.phase}" if self.iteration else self.phase
        what = one_line(f"{what} since {self.since}")
        return what if running else f"was killed in {what}; the same command goes on from there"


def note_phase(store: Store, iteration: int, phase: Phase, worktree: str = "") -> None:
    """`worktree`: the folder to remove if a kill keeps the loop from doing it."""
    note = {"pid": os.getpid(), "iteration": iteration, "phase": phase, "since": now(), "worktree": worktree}
    write_json(store.folder / _FILE, note)


def note_end(store: Store, reason: str, iteration: int = 0) -> None:
    """`iteration`: if it was ended in the middle of that one, whose last simulation may not be counted yet."""
    write_json(store.folder / _FILE, {"ended": reason, "since": now(), "iteration": iteration})


def note_limits(store: Store, limits: Mapping[str, float | None]) -> None:
    """Note what the loop may spend, by setting, for the dashboard and the live page."""
    write_json(store.folder / _LIMITS, {name: most for name, most in limits.items() if most is not None})


def noted_limits(store: Store) -> dict[str, float]:
    try:
        limits = dict(json.loads((store.folder / _LIMITS).read_text(encoding="utf-8")))
        return {str(name): float(most) for name, most in limits.items()}
    except (OSError, ValueError, TypeError):
        return {}


def clean_up(store: Store) -> None:
    """Do what a killed loop could not do: count its last simulation, and remove its worktree."""
    for line in Iterations(store).set_aside_damaged():
        print(f"[optimize] {line}", file=sys.stderr)
    note = noted(store)
    if note.iteration:  # it did not note its end, or was ended in the middle
        settle(store, note.iteration)
    note_begin(store)
    left = Path(note.worktree or "/")
    if left.name.startswith(PREFIX):
        Worktree(left).remove()


def status_lines(store: Store) -> list[str]:
    """The status in lines, for a person and for grep."""
    ledger = Ledger(store)
    iterations = Iterations(store).all(ledger.measure)
    finished = [one for one in iterations if one.finished]
    ends = Counter(one.end for one in finished)
    lines = [f"loop: {noted(store).words(store.is_locked(LOOP_LOCK))}"]
    lines.append(f"iterations: {len(finished)} finished" + "".join(f", {count} {end}" for end, count in ends.items()))
    if ledger.versions:
        best = ledger.best
        lines.append(f"best: {best.row.val_score:.4f}  ({best.name}, {best.row.measured})")
    lines += [f"waits: {run.waits}" for run in going(store) if run.waits]
    lines.append(f"spent: {spent(store).line}")
    lines += [f"  {summary(one)}" for one in finished[-_NEWEST:]]
    lines += _open_lines(iterations, store)
    lines += not_enforced_lines(iterations)
    return lines


def not_enforced_lines(iterations: list[Iteration]) -> list[str]:
    """What the coding agent's confinement left open: printed with every result."""
    lines = dict.fromkeys(line for one in iterations for line in one.not_enforced)
    return [f"not_enforced: {line}" for line in lines]


def summary(iteration: Iteration) -> str:
    """One line: "iteration 7: accepted  mend-tool-names: tools are called by names they do not have"."""
    return f"iteration {iteration.number}: {iteration.end:9} {one_line(iteration.idea, 90)}"


def _open_lines(iterations: list[Iteration], store: Store) -> list[str]:
    if not iterations or iterations[-1].finished:
        return []
    one = iterations[-1]
    known = [reward for reward in one.before.values() if reward is not None]
    train = f", train {sum(map(passed, known))}/{len(known)} passed before it" if known else ""
    spending = spent(store, one.number)
    return [f"open: iteration {one.number}{train}; {len(spending.simulations_usd)} new simulations, {spending.line}"]


def noted(store: Store) -> Note:
    try:
        given = known_fields(Note, json.loads((store.folder / _FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return Note()
    plain = vars(Note())
    return Note(**{name: value for name, value in given.items() if type(value) is type(plain[name])})
