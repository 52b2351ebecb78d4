"""Where the loop is: what it notes at every step, and what `optimize.py --status` prints of it, from any terminal."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from autoharness.iterations import Iteration, Iterations
from autoharness.ledger import Ledger
from autoharness.results import passed
from autoharness.scrub import one_line
from autoharness.spending import settle, spent
from autoharness.store import Store, now, write_json
from autoharness.worktree import PREFIX, Worktree

_FILE = "loop.json"
_NEWEST = 5


def note_phase(store: Store, iteration: int, phase: str, worktree: str = "") -> None:
    """`worktree`: the folder that is to be removed where a kill keeps the loop from doing it."""
    note = {"pid": os.getpid(), "iteration": iteration, "phase": phase, "since": now(), "worktree": worktree}
    write_json(store.folder / _FILE, note)


def note_end(store: Store, reason: str) -> None:
    write_json(store.folder / _FILE, {"ended": reason, "since": now()})


def clean_up(store: Store) -> None:
    """Make up for what a killed loop could not do: count its last simulation, and remove its worktree."""
    note = _noted(store)
    if "iteration" in note:  # it did not note its end
        settle(store, note["iteration"])
    left = Path(note.get("worktree") or "/")
    if left.name.startswith(PREFIX):
        Worktree(left).remove()


def status_lines(store: Store) -> list[str]:
    """For a person, and for grep."""
    ledger = Ledger(store)
    iterations = Iterations(store).all(ledger.measure)
    finished = [one for one in iterations if one.finished]
    ends = Counter(one.end for one in finished)
    lines = [f"loop: {_what_it_does(_noted(store), store.is_locked())}"]
    lines.append(f"iterations: {len(finished)} finished" + "".join(f", {count} {end}" for end, count in ends.items()))
    if ledger.versions:
        best = ledger.best
        lines.append(f"best: {best.row.val_score:.4f}  ({best.name}, {best.row.measured})")
    lines.append(f"spent: {spent(store).line}")
    lines += [f"  {summary(one)}" for one in finished[-_NEWEST:]]
    lines += _open_lines(iterations, store)
    lines += not_enforced_lines(iterations)
    return lines


def not_enforced_lines(iterations: list[Iteration]) -> list[str]:
    """What the coding agent's confinement left open: it stands beside every result."""
    lines = dict.fromkeys(line for one in iterations for line in one.not_enforced)
    return [f"not_enforced: {line}" for line in lines]


def summary(iteration: Iteration) -> str:
    """One line: "iteration 7: accepted  mend-tool-names: tools are called by names they do not have"."""
    idea = (iteration.edit.note.strip().splitlines() or [""])[0] if iteration.edit else ""
    return f"iteration {iteration.number}: {iteration.end:9} {one_line(idea, 90)}"


def _open_lines(iterations: list[Iteration], store: Store) -> list[str]:
    if not iterations or iterations[-1].finished:
        return []
    one = iterations[-1]
    known = [reward for reward in one.before.values() if reward is not None]
    train = f", train {sum(map(passed, known))}/{len(known)} passed before it" if known else ""
    spending = spent(store, one.number)
    return [f"open: iteration {one.number}{train}; {len(spending.simulations_usd)} new simulations, {spending.line}"]


def _what_it_does(note: dict[str, Any], runs: bool) -> str:
    if not note:
        return "was never started here"
    if "ended" in note:
        return f"ended on {note['since']}: {note['ended']}"
    what = f"iteration {note['iteration']}, {note['phase']} since {note['since']}"
    return f"{what}" if runs else f"was killed in {what}; the same command goes on from there"


def _noted(store: Store) -> dict[str, Any]:
    try:
        note = json.loads((store.folder / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}
