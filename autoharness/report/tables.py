"""Tables of simulations: the cells of an export, made safe for a spreadsheet.

Texts come from the agent and from models: none may reach a spreadsheet as a formula, or with what XML cannot hold.
Numbers stay numbers.
"""

import csv
import importlib.util
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

from autoharness.core.command_form import installing
from autoharness.core.errors import UserError
from autoharness.core.outcomes import ROLES, Outcome, Usage, known_cost, passed
from autoharness.report.visible_trials import Kept

MOST_CHARS = 32_767
"""In one cell of Excel, in the UTF-16 units that it counts."""
MOST_ROWS = 1_048_576
"""In one sheet of Excel."""
_EXTRA = "'auto-harness[xlsx]'"
_RAW = "raw"
"""The column of JSON as it is in the vault; hidden in a workbook."""
_BEGINS_A_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
"""As they are typed on a Japanese or Chinese keyboard too."""
_BEGINS_WITHIN = re.compile(rf"([;|\t\r\n][\s\"']*)([{re.escape(''.join(_BEGINS_A_FORMULA))}])")
_ERRORS = ("#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A")
"""Texts that a workbook would hold as errors."""
_NO_CHARACTER_OF_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_WIDTHS = {"task": 34, "version": 24, "wrong": 44, "detail": 44, "text": 90, "tool_calls": 60, "measured": 44}
_NARROWEST = 9

Cell = str | int | float | None
Row = dict[str, Cell]
Json = dict[str, Any]


@dataclass(frozen=True)
class Simulation:
    """One trial of the vault, as an export names it."""

    run: int
    """Its number in the export, from 1."""
    version: str
    """The version or the iteration that its agent file belongs to."""
    kept: Kept

    def row(self, outcome: Outcome) -> Row:
        """`outcome`: the whole one, as `kept` reads it."""
        trial, roles = outcome.trial, [outcome.usage.get(role, Usage()) for role in ROLES]
        return {
            "run": self.run,
            "version": self.version,
            "agent": trial.agent[:12],
            "task": trial.task_id,
            "trial": trial.number,
            "seed": trial.seed,
            "status": outcome.status.value,
            "reward": outcome.reward,
            "passed": passed(outcome.reward),
            "wrong": self.kept.wrong,
            "termination": outcome.termination,
            "detail": outcome.detail,
            "turns": len(outcome.messages),
            "cost_usd": known_cost(roles),
            "duration_s": outcome.duration_s,
            "started": outcome.started,
            **{
                f"{role}_llm_calls": usage.calls + usage.cached_calls
                for role, usage in zip(ROLES, roles, strict=True)
            },
            **{f"{role}_tokens": usage.tokens for role, usage in zip(ROLES, roles, strict=True)},
            **{f"{role}_cost_usd": known_cost([usage]) for role, usage in zip(ROLES, roles, strict=True)},
            **{f"{role}_latency_s": round(usage.latency_s, 3) for role, usage in zip(ROLES, roles, strict=True)},
        }

    def turns(self, outcome: Outcome) -> Iterator[Row]:
        """A row for each message."""
        before: Json = {}
        for turn, message in enumerate(outcome.messages):
            calls = [f"{call['name']}({json.dumps(call['arguments'])})" for call in message.get("tool_calls") or []]
            yield {
                "run": self.run,
                "task": outcome.trial.task_id,
                "trial": outcome.trial.number,
                "turn": turn,
                "role": message["role"],
                "text": message.get("content"),
                "tool_calls": "\n".join(calls),
                "error": bool(message.get("error")),
                "cost_usd": message.get("cost"),
                "seconds": _seconds_between(before, message),
                _RAW: json.dumps(message),
            }
            before = message


def harmless(cell: Cell) -> Cell:
    """A text that no spreadsheet takes for a formula and that XML can hold; anything else as it is."""
    if not isinstance(cell, str):
        return cell
    text = _NO_CHARACTER_OF_XML.sub("", cell)
    begins_one = text[:1] in ("\t", "\r", "\n") or text.lstrip().startswith(_BEGINS_A_FORMULA)
    return f"'{text}" if begins_one or text in _ERRORS else text


def _harmless_within(cell: Cell) -> Cell:
    """Like `harmless`, for every part of a text: some programs end a cell at another sign than a comma."""
    return _BEGINS_WITHIN.sub(r"\1'\2", cell) if isinstance(cell, str) else cell


def fitting(cell: Cell) -> Cell:
    """A text that fits into one cell of Excel, and says where it was cut."""
    if not isinstance(cell, str) or len(units := cell.encode("utf-16-le")) <= 2 * MOST_CHARS:
        return cell
    note = f" ... (cut: it has {len(cell)} characters; --export jsonl has all)"
    return units[: 2 * (MOST_CHARS - len(note))].decode("utf-16-le", "ignore") + note


def write_csv(file: BinaryIO, rows: Iterator[Row]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    for number, row in enumerate(rows):
        if not number:
            writer = csv.DictWriter(text, list(row), quoting=csv.QUOTE_NONNUMERIC)
            writer.writeheader()
        writer.writerow({name: _harmless_within(harmless(cell)) for name, cell in row.items()})
    text.flush()
    text.detach()


def check_openpyxl() -> None:
    """Raises UserError if it is missing."""
    if importlib.util.find_spec("openpyxl") is None:
        raise UserError(f"--export xlsx: openpyxl is not installed: {installing(_EXTRA)}")


def write_workbook(file: BinaryIO, ranking: Sequence[Row], simulations: Iterable[Simulation]) -> None:
    """The sheets "summary", "runs" and "turns". Raises UserError if Excel holds fewer rows."""
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    sheets = summary, runs, turns = [_Sheet(book, title) for title in ("summary", "runs", "turns")]
    try:
        for row in ranking:
            summary.append(row)
        for one in simulations:
            outcome = one.kept.read()
            without_messages = {name: value for name, value in outcome.to_json().items() if name != "messages"}
            runs.append(one.row(outcome) | {_RAW: json.dumps(without_messages)})
            for turn in one.turns(outcome):
                turns.append(turn)
    finally:
        for sheet in sheets:
            sheet.end()
    book.save(file)


class _Sheet:
    """Rows as they come, below a header that stays in sight."""

    def __init__(self, book: Any, title: str) -> None:
        self._sheet = book.create_sheet(title)
        self._columns: list[str] = []
        self._rows = 1

    def append(self, row: Row) -> None:
        if not self._columns:
            self._begin(list(row))
        self._rows += 1
        if self._rows > MOST_ROWS:
            raise UserError(f"{self._sheet.title}: Excel holds {MOST_ROWS} rows: --version NAME, or --export jsonl")
        self._sheet.append([fitting(harmless(cell)) for cell in row.values()])

    def end(self) -> None:
        """Call it after a failure too: otherwise openpyxl complains of files that it left half written."""
        self._sheet.auto_filter.ref = f"A1:{_letter(len(self._columns) or 1)}{self._rows}"
        self._sheet.close()

    def _begin(self, columns: list[str]) -> None:
        self._columns = columns
        self._sheet.freeze_panes = "A2"
        for number, name in enumerate(columns, 1):
            dimension = self._sheet.column_dimensions[_letter(number)]
            dimension.width = _WIDTHS.get(name, max(_NARROWEST, len(name) + 4))
            dimension.hidden = name == _RAW
        self._sheet.append([self._bold(name) for name in columns])

    def _bold(self, text: str) -> Any:
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.styles import Font

        cell = WriteOnlyCell(self._sheet, text)
        cell.font = Font(bold=True)
        return cell


def _letter(column: int) -> str:
    from openpyxl.utils import get_column_letter

    return get_column_letter(column)


def _seconds_between(before: Json, message: Json) -> float | None:
    """From the message before it to this one, if both say when they were made."""
    try:
        earlier, later = (datetime.fromisoformat(one["timestamp"]) for one in (before, message))
        return round((later - earlier).total_seconds(), 3)
    except (KeyError, TypeError, ValueError):
        return None
