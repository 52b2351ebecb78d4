"""Asks the coding agent for an edit: what it is told, and what is taken from it.

What it leaves is bytes and text from here on: nothing that it wrote is run outside an agent host.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from autoharness.core.errors import SetupError, UserError
from autoharness.core.files import write_text
from autoharness.core.outcomes import Outcome, slug
from autoharness.core.redaction import without_whole_keys
from autoharness.core.settings import AGENT_FILE
from autoharness.engine.score_identity import Measure
from autoharness.loop.coding_agent import PROMPT, Coder, Ran
from autoharness.loop.diagnosis import diagnosis
from autoharness.loop.learnings import FILE as LEARNINGS
from autoharness.loop.learnings import recent
from autoharness.loop.program_md import PROGRAM_FILE, for_one_edit
from autoharness.loop.screening import has_key, problem_of
from autoharness.loop.status import Phase, note_phase
from autoharness.loop.worktree import NOTE, PREDICTION, Worktree
from autoharness.vault.iterations import Edit, Iteration, Iterations
from autoharness.vault.ledger import Ledger
from autoharness.vault.store import Store
from autoharness.vault.workspace import WORKSPACE, export_domain, export_ledger, export_traces, export_train_results

_MOST_NAMED = 5


def lay_out(measure: Measure, store: Store, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Write what a coding agent reads about the train tasks and the kept versions."""
    export_domain(measure.facts["policy"], measure.facts["tools"], folder)
    export_traces(list(outcomes), folder=folder, train=measure.train)
    export_ledger(Ledger(store), folder)


class Proposer:
    """Has the coding agent make one edit of the version that an iteration starts from."""

    def __init__(self, measure: Measure, store: Store, coder: Coder) -> None:
        self._measure, self._store, self._coder = measure, store, coder
        self._iterations = Iterations(store)

    @contextmanager
    def proposed(self, iteration: Iteration) -> Iterator[tuple[Edit, Ran]]:
        """One run of the coding agent. Its worktree exists until what it left was handled. Raises UserError."""
        incumbent = self._store.agent_source(iteration.incumbent)
        with self._worktree(iteration, incumbent) as worktree:
            self._furnish(worktree, iteration)
            worktree.remember()
            transcript = self._iterations.folder(iteration.number) / "transcript.txt"
            ran = self._coder.edit(worktree, transcript, iteration.number)
            yield self._read_edit(worktree, ran, incumbent), ran

    @contextmanager
    def _worktree(self, iteration: Iteration, incumbent: str) -> Iterator[Worktree]:
        worktree = Worktree.begin()
        note_phase(self._store, iteration.number, Phase.EDIT, str(worktree.folder))
        try:
            worktree.fill(incumbent)
            yield worktree
        finally:
            worktree.remove()

    def _furnish(self, worktree: Worktree, iteration: Iteration) -> None:
        """Write all that the coding agent sees besides the agent file: train tasks and what was learned."""
        folder = worktree.root / WORKSPACE
        trials = self._measure.trials(self._measure.train, iteration.incumbent)
        outcomes = self._measure.found(self._store, trials)
        earlier = [one for one in self._iterations.all(self._measure.id) if one.finished]
        page = diagnosis(outcomes, earlier)
        lay_out(self._measure, self._store, outcomes, folder)
        export_train_results(iteration.before, None, folder)
        write_text(folder / LEARNINGS.name, recent(), worktree.root)
        write_text(folder / "diagnosis.md", page, worktree.root)
        write_text(worktree.root / PROGRAM_FILE, for_one_edit(self._measure.facts["about"]), worktree.root)
        write_text(self._iterations.folder(iteration.number) / "prompt.md", f"{PROMPT}\n\n---\n\n{page}")

    def _read_edit(self, worktree: Worktree, ran: Ran, incumbent: str) -> Edit:
        """The edit that it left. From here on it is bytes and text: none of it is run outside an agent host."""
        agent, problem = "", ""
        try:
            source = worktree.agent_source()
            problem = problem_of(source, incumbent)
            if _is_text(source) and source.decode() != incumbent and not has_key(source):
                agent = self._store.keep_agent(source)
        except SetupError:  # not the edit's fault
            raise
        except UserError as error:
            problem = str(error).replace(str(worktree.root), ".")
        except OSError as error:
            problem = f"{AGENT_FILE} cannot be read: {error.strerror}"
        fixes, breaks, complaint = self._prediction(worktree)
        return Edit(
            agent=agent,
            problem=problem,
            note=without_whole_keys(worktree.text(NOTE)),
            fixes=fixes,
            breaks=breaks,
            remarks=[without_whole_keys(remark) for remark in [*_remarks(ran, worktree.touched), *complaint]],
            seconds=ran.seconds,
            cost_usd=ran.cost_usd,
            tokens=ran.tokens,
        )

    def _prediction(self, worktree: Worktree) -> tuple[list[str], list[str], list[str]]:
        """The train tasks that it names, by id or by trace folder; and what is wrong with the file."""
        text, train = worktree.text(PREDICTION), self._measure.train
        if not text:
            return [], [], ["it made no prediction"]
        names = {slug(task_id): task_id for task_id in train} | {task_id: task_id for task_id in train}
        try:
            said = json.loads(text)
            fixes, breaks = (
                list(dict.fromkeys(names[str(name)] for name in said[key] if str(name) in names))
                for key in ("fixes", "breaks")
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            return [], [], [f"{PREDICTION} is not as PROGRAM.md says: no prediction"]
        return fixes, breaks, []


def _is_text(source: bytes) -> bool:
    try:
        source.decode()
    except UnicodeDecodeError:
        return False
    return True


def _remarks(ran: Ran, touched: list[str]) -> list[str]:
    """What a reader should know about the coding agent's run."""
    remarks = []
    if ran.timed_out:
        remarks.append(f"the coding agent was ended after {ran.seconds:.0f} s (coding_agent_timeout_s)")
    if ran.exit_code:
        remarks.append(f"the coding agent ended with exit code {ran.exit_code}: {ran.last_words}")
    if ran.too_long:
        remarks.append("the coding agent was ended: it printed over 20 MB")
    if ran.left_behind is None:
        remarks.append("what supervised the coding agent was killed: processes of its may still run")
    if ran.left_behind:
        remarks.append(f"the coding agent left {ran.left_behind} processes behind; they were ended")
    if touched:
        more = f" and {len(touched) - _MOST_NAMED} more" if len(touched) > _MOST_NAMED else ""
        remarks.append(f"what it did to other files was thrown away: {', '.join(touched[:_MOST_NAMED])}{more}")
    return remarks
