"""Reveals held-out tasks to a person who asks (`--reveal-held-out`): counts it, and says where the file may be.

It is counted before anything can be seen, and every later verdict and report says so. An edit that the gate judges
at that moment was made before.
"""

from collections.abc import Collection
from pathlib import Path

from autoharness.core.errors import UserError
from autoharness.core.files import PACKAGE_ROOT
from autoharness.vault.ledger import Ledger
from autoharness.vault.store import Store
from autoharness.vault.workspace import WORKSPACE

_OURS = PACKAGE_ROOT.parent
"""The checkout, whichever folder a command is started in."""


def place_of(output: Path | None, name: str, store: Store, reveal: bool) -> Path:
    """Where a file is to be written. Raises UserError for a place where a coding agent reads what is revealed."""
    if output is None:
        return (store.folder / "revealed" if reveal else WORKSPACE) / name
    folder = output.parent.resolve()  # not the file's: a link of that name is replaced, wherever it leads
    if reveal and any(folder.is_relative_to(root) for root in (Path.cwd().resolve(), _OURS)):
        raise UserError(
            f"--output {output} lies inside the checkout, where a coding agent reads: what --reveal-held-out shows "
            "has to lie elsewhere"
        )
    if folder != output.parent.absolute():
        return folder / output.name  # beyond a link, which the user knows
    return output


class Reveal:
    """Counts the held-out tasks that one command shows, each once: a page that follows the loop may show more."""

    def __init__(self, command: str, store: Store) -> None:
        self._command, self._store = command, store
        self._counted: set[tuple[str, str]] = set()

    def count(self, tasks: Collection[str], ledger: Ledger) -> bool:
        """`tasks`: the held-out tasks of the ledger's settings whose single results are about to be shown.

        Returns whether there were some that had not been counted.
        """
        settings = ledger.versions[-1].row.experiment
        shown = {(settings["domain"], task_id) for task_id in tasks}
        if shown <= self._counted:
            return False
        of = len(set(tasks).union(*(row.tasks for row in ledger.rows)))
        entry = {"command": self._command, "domain": settings["domain"], "split": settings["gate_split"]}
        self._store.count_holdout({**entry, "tasks": len(tasks), "of": of, "revealed": True})
        self._counted |= shown
        return True
