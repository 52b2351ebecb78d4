"""The page's table of tasks by edits: what `task_map` found, in marks and classes that the style sheet colours."""

from collections.abc import Iterator
from typing import Any

from autoharness.core.outcomes import slug
from autoharness.report.overview import Overview
from autoharness.report.task_map import Cell, State, TaskMap

_CELLS = {
    State.PASSED: ("p", ""),
    State.FAILED: ("f", "\N{MULTIPLICATION SIGN}"),
    State.PARTLY: ("k", "\N{VULGAR FRACTION ONE HALF}"),
    State.LOST: ("l", "?"),
    State.NOT_RUN: ("n", ""),
}
_CHANGES = {1: (" x", "+"), -1: (" b", "\N{MINUS SIGN}"), 0: ("", "")}

Json = dict[str, Any]


def columns(overview: Overview) -> Iterator[Json]:
    """The baseline, then each attempt."""
    baseline, best = overview.baseline.row.agent, overview.best.row.agent
    yield {
        "short": "0",
        "name": "the baseline",
        "end": "baseline",
        "agent": baseline,
        "incumbent": "",
        "best": baseline == best,
    }
    for one in overview.attempts:
        column = {
            "short": one.short,
            "name": one.name,
            "end": one.end,
            "agent": one.agent,
            "incumbent": one.incumbent,
        }
        yield column | {"best": bool(one.version) and one.agent == best}


def row(task_id: str, found: TaskMap) -> Json:
    """The row of one task: its cells, and what the page's filters need."""
    from markupsafe import Markup

    cells, present = found.row(task_id), found.now(task_id)
    kinds = {
        "failing": present.state in (State.FAILED, State.PARTLY),
        "changed": any(cell.change for cell in cells),
        "flaky": any(cell.flaky for cell in cells),
    }
    return {
        "task_id": task_id,
        "slug": slug(task_id),
        "kinds": " ".join(kind for kind, holds in kinds.items() if holds),
        "wrong": "; ".join(found.wrong(task_id)),
        "cells": Markup("".join(map(_cell, cells))),  # of our own words alone, and there may be 34,000
    }


def _cell(cell: Cell) -> str:
    name, mark = _CELLS[cell.state]
    change_name, change_mark = _CHANGES[cell.change]
    classes = f"{name}{change_name}{' y' if cell.flaky else ''}"
    quoted = f'"{classes}"' if " " in classes else classes
    return f"<td class={quoted}>{change_mark or ('~' if cell.flaky else mark)}</td>"
