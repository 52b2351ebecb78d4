"""The ledger's file in the vault: a hash chain of rows, one JSON line each.

A line ends with its own SHA-256, which the next line repeats; it names the agent file, the settings, the task ids,
and the SHA-256 of every trial it rests on. So a change by hand is found. It does not protect against anyone who can
write the vault and makes the whole chain anew; each commit names its line, and is in git.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TypeVar

from autoharness.core.command_form import typed
from autoharness.core.errors import UserError
from autoharness.core.files import write_json
from autoharness.core.json_lines import Followed
from autoharness.core.outcomes import digest
from autoharness.vault.ledger_rows import Baseline, Confirmation, Evaluator, Gate, Look, Record, Row
from autoharness.vault.store import HEAD, LEDGER, Store, now

_FIRST = "0" * 64
"""Stands in the first line for the SHA-256 of the line before."""
_LOOKS = frozenset({"looks", "score_looks", "suite_looks", "fault_looks"})
_KINDS: dict[str, type[Row]] = {kind.__name__: kind for kind in (Baseline, Gate, Record, Confirmation, Evaluator)}


AnyRow = TypeVar("AnyRow", bound=Row)


class LaterVersion(UserError):
    """What is stored is not damaged: this checkout is too old for it."""


def _is_of_later_version(line: str) -> bool:
    """Whether a row is intact, but has fields that this version does not know."""
    try:
        given = json.loads(line)
        if given.pop("sha256") != digest(given):
            return False
        kind = _KINDS.get(given["kind"])
        looks = [look for name in _LOOKS & given.keys() for look in given[name]]
        rows_own = kind is not None and given.keys() <= {"kind", "previous", *(one.name for one in fields(kind))}
        return not rows_own or any(look.keys() - {one.name for one in fields(Look)} for look in looks)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False


@dataclass
class _Chain:
    """The rows of a file that were read so far; each follows from the one before."""

    path: Path
    rows: list[Row] = field(default_factory=list)

    def take(self, line: str) -> None:
        """Raises UserError for a line that is damaged or out of place."""
        row = _parse(line, len(self.rows), self.rows[-1].sha256 if self.rows else _FIRST)
        where = f"{self.path}, line {len(self.rows) + 1}"
        if row is None and _is_of_later_version(line):
            raise LaterVersion(f"{where}: a later version of auto-harness wrote it: update this checkout")
        if row is None:
            raise UserError(
                f"{where}: not as the gate wrote it, and it decides; restore the file, or go on from the lines "
                f"before it: {typed('prepare.py')}"
            )
        self.rows.append(row)


_chains = Followed(_Chain, _Chain.take)


def read(store: Store) -> list[Row]:
    """The rows of the vault's ledger. Raises UserError for a line that is damaged or out of place."""
    head = _head(store)  # before the rows: another command may be about to append one
    rows = list(_chains.of(store.folder / LEDGER).rows)
    if head > len(rows):
        raise UserError(
            f"{store.folder / LEDGER}: {head - len(rows)} rows are missing at its end, and they decide; restore the "
            f"file, or go on without them: {typed('prepare.py')}"
        )
    return rows


def append(store: Store, row: AnyRow, rows: Sequence[Row]) -> AnyRow:
    """Append a row behind `rows`, which are all there are; returns the row as it is in the file now."""
    row = replace(row, number=len(rows), time=now())
    line = {"kind": type(row).__name__, "previous": rows[-1].sha256 if rows else _FIRST, **asdict(row)}
    del line["sha256"]
    row = replace(row, sha256=digest(line))
    store.append_line(LEDGER, line | {"sha256": row.sha256})
    _note_head(store, [*rows, row])
    return row


def _note_head(store: Store, rows: Sequence[Row]) -> None:
    """Keep the ledger's length in another file: rows cut from the ledger's end leave a chain that is whole."""
    write_json(store.folder / HEAD, {"rows": len(rows)})


def _head(store: Store) -> int:
    try:
        return int(json.loads((store.folder / HEAD).read_text())["rows"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0


def mend(store: Store) -> list[str]:
    """Set a damaged ledger aside and keep the rows before the damage; returns lines about it. Raises LaterVersion."""
    try:
        read(store)
    except LaterVersion:
        raise
    except UserError as error:
        chain, lines = _Chain(store.folder / LEDGER), store.read_lines(LEDGER)
        with suppress(UserError):
            for line in lines:
                chain.take(line)
        aside = store.replace_lines(LEDGER, lines[: len(chain.rows)])
        _note_head(store, chain.rows)
        lost = (
            f"{len(chain.rows)} of {len(lines)} rows are kept; gate again what came later (its trials are paid for)"
        )
        return [f"{error}", f"kept as {aside}: {lost}"]
    return []


def _parse(line: str, number: int, previous: str) -> Row | None:
    try:
        given = json.loads(line)
        sha256 = given.pop("sha256")
        if digest(given) != sha256:
            return None
        kind, follows = _KINDS[given.pop("kind")], given.pop("previous") == previous
        for name in _LOOKS & given.keys():
            given[name] = [Look(**look) for look in given[name]]
        row = kind(**given, sha256=sha256)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return row if follows and row.number == number else None
