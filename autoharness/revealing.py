"""Held-out tasks for a person who asks for them (`--reveal-held-out`): that it is counted, and where it may lie.

It is counted before anything can be seen, and every later verdict and headline says so. An edit that the gate judges
at that moment was made before.
"""

from collections.abc import Collection
from pathlib import Path

from autoharness.errors import UserError
from autoharness.ledger import Ledger
from autoharness.store import Store
from autoharness.workspace import WORKSPACE


def place_of(output: Path | None, name: str, store: Store, reveal: bool) -> Path:
    """Where a file is to be written. Raises UserError for a place where a coding agent reads what is revealed."""
    if output is None:
        return (store.folder / "revealed" if reveal else WORKSPACE) / name
    folder = output.parent.resolve()  # of itself: a link of that name is replaced, wherever it leads
    if reveal and folder.is_relative_to(Path.cwd().resolve()):
        raise UserError(
            f"--output {output} lies inside the checkout, where a coding agent reads: what --reveal-held-out shows "
            "has to lie elsewhere"
        )
    return output


def count_reveal(command: str, tasks: Collection[str], ledger: Ledger, store: Store) -> None:
    """`tasks`: the held-out ones whose single results are about to be shown; none where nothing is."""
    if tasks:
        settings = ledger.versions[-1].row.experiment
        of = len(set(tasks).union(*(row.tasks for row in ledger.rows)))
        entry = {"command": command, "domain": settings["domain"], "split": settings["gate_split"]}
        store.count_holdout({**entry, "tasks": len(tasks), "of": of, "revealed": True})
