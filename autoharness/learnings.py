"""`workspace/learnings.md`: a section for every iteration, from what the loop knows, and what the coding agent wrote.

A section is written once. What a person writes in the file stays.
"""

import re
from pathlib import Path

from autoharness.diagnosis import changes_lines
from autoharness.iterations import Iteration
from autoharness.ledger import Gate
from autoharness.spending import Spent
from autoharness.stats import score_line
from autoharness.store import write_text
from autoharness.workspace import WORKSPACE, begin_learnings

FILE = WORKSPACE / "learnings.md"
_MOST_DIFF_LINES, _MOST_NOTE_CHARS, _LONGEST_LINE_CHARS = 120, 4000, 300


def write_section(iteration: Iteration, gate: Gate | None, diff: str, spent: Spent, file: Path = FILE) -> None:
    """Append the section of a finished iteration, where it is not there yet."""
    begin_learnings(file.parent)
    text = file.read_text(encoding="utf-8", errors="replace")
    if f"\n{_heading(iteration)}\n" not in text:
        write_text(file, f"{text.rstrip()}\n\n{section(iteration, gate, diff, spent)}")


def section(iteration: Iteration, gate: Gate | None, diff: str, spent: Spent) -> str:
    """`gate`: None where the holdout was not asked. `diff`: what the edit changed."""
    edit = iteration.edit
    added, removed = (sum(line.startswith(sign) for line in diff.splitlines()[2:]) for sign in "+-")
    lines = [_heading(iteration), ""]
    lines += [
        f"- edit: +{added} -{removed} lines" + (f", commit {iteration.commit[:12]}" if iteration.commit else "")
    ]
    lines += [f"- {reason}" for reason in iteration.reasons]
    if gate and gate.val_score is not None:
        lines.append(f"- val_score: {score_line(gate.held_out.values())}")
    for line in changes_lines(iteration):
        lines.append(f"  - {line.strip()}" if line.startswith(" ") else f"- {line}")
    lines += [f"- {remark}" for remark in (edit.remarks if edit else [])]
    lines.append(
        f"- cost: {spent.line}, {len(spent.simulations_usd)} new simulations, {iteration.seconds / 60:.1f} min"
    )
    if edit and edit.note.strip():
        lines += ["", "What the coding agent wrote:", ""]
        lines += [f"> {line}".rstrip() for line in edit.note.strip()[:_MOST_NOTE_CHARS].splitlines()]
    if diff:
        fence = "`" * max([3, *(1 + len(run) for run in re.findall("`+", diff))])  # a diff may hold fences
        shown = [line[:_LONGEST_LINE_CHARS] for line in diff.splitlines()]
        more = [f"... {len(shown) - _MOST_DIFF_LINES} lines more"] if len(shown) > _MOST_DIFF_LINES else []
        lines += ["", f"{fence}diff", *shown[:_MOST_DIFF_LINES], *more, fence]
    return "\n".join(lines) + "\n"


def _heading(iteration: Iteration) -> str:
    """With its time: the file may be older than the vault."""
    return f"## Iteration {iteration.number}: {iteration.end} ({iteration.started})"
