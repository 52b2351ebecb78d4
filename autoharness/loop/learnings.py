"""Writes `workspace/learnings.md`: a section for every iteration, with the loop's facts and the coding agent's note.

A section is written once. What a person writes in the file stays.
"""

import re
from pathlib import Path

from autoharness.core.files import append_text, read_end
from autoharness.core.stats import score_line
from autoharness.loop.diagnosis import changes_lines
from autoharness.vault.iterations import Iteration
from autoharness.vault.ledger_rows import Gate
from autoharness.vault.spending import Spent
from autoharness.vault.workspace import WORKSPACE, begin_learnings

FILE = WORKSPACE / "learnings.md"
_SECTION = "\n## Iteration "
_RECENT_BYTES = 32_000
_WRITTEN_SINCE_BYTES = 4_000
"""What a person may have added to a section before it is searched for again, after a kill."""
_MOST_DIFF_LINES, _MOST_NOTE_CHARS, _LONGEST_LINE_CHARS = 120, 4000, 300


def write_section(iteration: Iteration, gate: Gate | None, diff: str, spent: Spent, file: Path = FILE) -> None:
    """Append the section of a finished iteration, if it is not there yet. Raises UserError if the file is a link."""
    begin_learnings(file.parent)
    root, text = file.parent.parent, section(iteration, gate, diff, spent)
    end = read_end(file, len(text.encode()) + _WRITTEN_SINCE_BYTES, root).decode(errors="replace")
    if missing := _missing(end, text):
        append_text(file, missing, root)


def _missing(end: str, text: str) -> str:
    """What to add to a file with this end; "" if it has the section. A kill may have cut the section short."""
    heading = text[: text.index("\n") + 1]
    if f"\n{heading}" in end:
        begun = end[end.rindex(f"\n{heading}") + 1 :]
        return text.removeprefix(begun) if text.startswith(begun) else ""
    return "\n" * (2 - len(end[-2:]) + len(end[-2:].rstrip("\n"))) + text


def recent(file: Path = FILE) -> str:
    """The last sections, for the coding agent; its diagnosis has more iterations in short."""
    try:
        end = read_end(file, _RECENT_BYTES, file.parent.parent)
    except FileNotFoundError:
        return ""
    text = end.decode(errors="replace")
    if len(end) < _RECENT_BYTES:
        return text
    return f"# Learnings\n\n(What is older is left out here.)\n{text[max(0, text.find(_SECTION)) :]}"


def section(iteration: Iteration, gate: Gate | None, diff: str, spent: Spent) -> str:
    """`gate`: None if there was no gate run. `diff`: what the edit changed."""
    edit = iteration.edit
    added, removed = (sum(line.startswith(sign) for line in diff.splitlines()[2:]) for sign in "+-")
    lines = [_heading(iteration), ""]
    lines += [
        f"- edit: +{added} -{removed} lines" + (f", commit {iteration.commit[:12]}" if iteration.commit else "")
    ]
    lines += [f"- {reason}" for reason in iteration.reasons]
    if gate and gate.val_score is not None:
        lines.append(f"- val_score: {score_line(gate.held_out.values(), gate.experiment.get('trials', 1))}")
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
