"""The iterations of the loop, each in a folder of the vault: the edit, its results and its verdict.

    iterations/0007/iteration.json   its state so far; written beside and renamed at every step
                    agent.py         the edit
                    edit.diff        against the incumbent
                    prompt.md        what the coding agent was told: diagnosis.md
                    transcript.txt   what it printed, run by run

After a kill an iteration continues from its last step. The verdicts are in the ledger; an iteration names its row.
"""

import difflib
import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from autoharness.core.files import Remembered, write_json, write_text
from autoharness.core.outcomes import Rewards, digest, known_fields, passed
from autoharness.vault.ledger import Ledger
from autoharness.vault.store import Store

ACCEPTED, REJECTED, UNDECIDED = "accepted", "rejected", "undecided"
REFUSED, REPEATED, NO_EDIT, OVERTAKEN = "refused", "repeated", "no edit", "overtaken"
"""Ends of an iteration without a gate run on held-out tasks. OVERTAKEN: somebody made another version by hand
meanwhile."""

_MOST_REJECTIONS = 2
_TYPES: dict[Any, Any] = {str: str, int: int, float: int | float, list[str]: list, Rewards: dict}
"""The JSON types that a field of each type may have."""


@dataclass(frozen=True)
class Edit:
    """The result of one run of the coding agent."""

    agent: str = ""
    """SHA-256 of the agent file that it left; empty if it left none that can be read."""
    problem: str = ""
    """Why there is no edit to judge; empty if there is one."""
    note: str = ""
    """What the coding agent wrote about it."""
    fixes: list[str] = field(default_factory=list)
    """Train tasks that it is to fix, as the coding agent says."""
    breaks: list[str] = field(default_factory=list)
    """... and that it might break."""
    remarks: list[str] = field(default_factory=list)
    """What a reader should know: files it should not have touched, processes it left, a time limit."""
    seconds: float = 0.0
    cost_usd: float | None = None
    tokens: int = 0


@dataclass(frozen=True)
class Iteration:
    """One turn of the loop."""

    number: int
    measure: str
    incumbent: str
    """SHA-256 of the version that it starts from."""
    branch: str
    """The user's branch, to which an accepted edit is committed; empty for a detached HEAD."""
    coding_agent: str
    not_enforced: list[str] = field(default_factory=list)
    """What the confinement of the coding agent leaves open."""
    before: Rewards = field(default_factory=dict)
    """The incumbent's train results."""
    edit: Edit | None = None
    screening: Rewards = field(default_factory=dict)
    """The edit's results in the train tasks it is to fix."""
    after: Rewards = field(default_factory=dict)
    """The edit's train results, as far as it was run on train tasks."""
    gate: int = -1
    """The number of its row in the ledger."""
    end: str = ""
    reasons: list[str] = field(default_factory=list)
    commit: str = ""
    seconds: float = 0.0
    """Time of work, without time that a kill lost."""
    started: str = ""
    finished: str = ""

    @property
    def idea(self) -> str:
        """The first line of the coding agent's note."""
        return (self.edit.note.strip().splitlines() or [""])[0] if self.edit else ""

    @property
    def seen(self) -> Rewards:
        """The edit's rewards in all train tasks that it was run on."""
        return {**self.screening, **self.after}

    @cached_property
    def reward_changes(self) -> tuple[list[str], list[str]]:
        """The train tasks that it fixed, and that it broke, among those that it was run on."""
        known = {task_id: reward for task_id, reward in self.seen.items() if reward is not None}
        before = {task_id: self.before.get(task_id) for task_id in known}
        fixed = [task_id for task_id in known if before[task_id] is not None and known[task_id] > before[task_id]]  # type: ignore[operator]
        broken = [task_id for task_id in known if before[task_id] is not None and known[task_id] < before[task_id]]  # type: ignore[operator]
        return fixed, broken

    @property
    def hits(self) -> tuple[int, int]:
        """How many tasks it fixed, of how many that it was to fix and was run on."""
        looked_at = [task_id for task_id in (self.edit.fixes if self.edit else []) if task_id in self.seen]
        fixed, _ = self.reward_changes
        return sum(task_id in fixed for task_id in looked_at), len(looked_at)


class Iterations:
    """All iterations of a vault."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def folder(self, number: int) -> Path:
        return self._store.folder / "iterations" / f"{number:04}"

    def all(self, measure: str | None = None) -> list[Iteration]:
        """Oldest first; of one settings identity (`measure`), or of all."""
        folder = self._store.folder / "iterations"
        names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
        found = [_known(folder / name / "iteration.json") for name in names]
        return [one for one in found if one and measure in (None, one.measure)]

    def set_aside_damaged(self) -> list[str]:
        """Set damaged files aside; their numbers are not used again. For the loop, which writes the files.

        Returns a line for each.
        """
        lines = []
        for path in sorted((self._store.folder / "iterations").glob("*/iteration.json")):
            path.read_bytes()  # raises if it cannot be read at all: that is no damage
            if _read(path) is None:
                aside = path.rename(path.with_suffix(".damaged"))
                lines.append(f"an iteration that is damaged is left out of the history: {aside}")
        return lines

    def save(self, iteration: Iteration) -> Iteration:
        write_json(self.folder(iteration.number) / "iteration.json", asdict(iteration))
        return iteration

    def show_edit(self, iteration: Iteration) -> None:
        """Write the agent file and its diff, for anyone who reads the folder."""
        if iteration.edit and iteration.edit.agent:
            write_text(self.folder(iteration.number) / "agent.py", self._store.agent_source(iteration.edit.agent))
            write_text(self.folder(iteration.number) / "edit.diff", self.diff(iteration))

    def diff(self, iteration: Iteration) -> str:
        """The edit as a diff; empty if there was no edit."""
        if not iteration.edit or not iteration.edit.agent:
            return ""
        return diff(*(self._store.agent_source(agent) for agent in (iteration.incumbent, iteration.edit.agent)))

    def repeats(self, iteration: Iteration, agent: str) -> str:
        """Why this edit is not a new idea; "" if it is one."""
        earlier = [
            one
            for one in self.all(iteration.measure)
            if one.number < iteration.number and one.edit and one.edit.agent
        ]
        for one in earlier:
            same = one.edit and (one.edit.agent, one.incumbent) == (agent, iteration.incumbent)
            if same and one.end not in (UNDECIDED, REPEATED) and not _claimed_other_fixes(one, iteration):
                return f"the same edit was tried in iteration {one.number}: {one.end}"
        form = self._form(iteration.incumbent, agent)
        rejected = [
            one
            for one in earlier
            if one.end in (REJECTED, REFUSED) and one.edit and self._form(one.incumbent, one.edit.agent) == form
        ]
        if len(rejected) >= _MOST_REJECTIONS:
            numbers = " and ".join(str(one.number) for one in rejected)
            return f"an edit of the same form was not kept in iterations {numbers}"
        return ""

    def _form(self, before: str, after: str) -> str:
        """`form_of` the edit from one agent file (SHA-256) to another."""
        if (before, after) not in _forms:
            _forms[before, after] = form_of(diff(*(self._store.agent_source(agent) for agent in (before, after))))
        return _forms[before, after]


def _claimed_other_fixes(refused: Iteration, again: Iteration) -> bool:
    """Whether an edit that lost in the tasks it was to fix comes again with another prediction: that may be right."""
    return refused.end == REFUSED and bool(refused.screening) and _claims(refused) != _claims(again)


def _claims(iteration: Iteration) -> set[str]:
    """The failing tasks that the edit is to fix."""
    fixes = iteration.edit.fixes if iteration.edit else []
    before = iteration.before
    return {task_id for task_id in fixes if before.get(task_id) is not None and not passed(before[task_id])}


def next_iteration(store: Store, ledger: Ledger) -> int:
    """The number of the next iteration, by the loop or by hand."""
    versions = [version.iteration for version in ledger.versions]
    # an empty folder does not count: a kill or a full disk left nothing in it
    files = [file for file in (store.folder / "iterations").glob("*/[!.]*") if file.parent.name.isdecimal()]
    folders = [int(file.parent.name) for file in files]
    return 1 + max([0, *versions, *folders])


def diff(before: str, after: str) -> str:
    """Unified, as git shows it."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), "a/agent/agent.py", "b/agent/agent.py"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def form_of(unified_diff: str) -> str:
    """A digest of the lines that a diff adds and takes away, wherever they stand and however they are indented."""
    lines = [line for line in unified_diff.splitlines() if re.match(r"[+-](?![+-]{2} )", line)]
    return digest(sorted(line[0] + " ".join(line[1:].split()) for line in lines if line[1:].strip()))


def _read(path: Path) -> Iteration | None:
    """None if it is damaged. A field that only a later version knows is left out."""
    try:
        given: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        edit = given.get("edit")
        found = Iteration(
            **known_fields(Iteration, given) | {"edit": Edit(**known_fields(Edit, dict(edit))) if edit else None}
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return found if _is_sound(found) and (found.edit is None or _is_sound(found.edit)) else None


def _known(path: Path) -> Iteration | None:
    """As `_read`; read again if it has changed."""
    with suppress(FileNotFoundError, NotADirectoryError):  # it was set aside, or has not begun
        return _files.of(path)
    return None


_files = Remembered(_read)
_forms: dict[tuple[str, str], str] = {}
"""By the SHA-256 of both agent files: such a file never changes."""


def _is_sound(one: Iteration | Edit) -> bool:
    """Whether each value is of the type of its field."""
    kinds = {name: _TYPES[kind] for name, kind in type(one).__annotations__.items() if kind in _TYPES}
    return all(isinstance(getattr(one, name), kind) for name, kind in kinds.items())
