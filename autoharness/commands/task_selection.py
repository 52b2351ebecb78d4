"""Which tasks `benchmark.py` runs: those of the split, those that are named, those that failed before."""

from pathlib import Path
from typing import Any

from autoharness.core.errors import UserError
from autoharness.core.outcomes import EVALUATED, Status
from autoharness.core.settings import Experiment
from autoharness.engine.score_identity import Measure
from autoharness.engine.trial_runner import last_statuses
from autoharness.vault.store import Store, default_vault

_FAILED = {Status.FAILED, Status.AGENT_ERROR, Status.TIMED_OUT}
RERUN = {str(status): {status} for status in Status} | {
    "failed": _FAILED,
    "errors": set(Status) - EVALUATED,
    "all": set(Status) - {Status.PASSED},
}


def choose(options: Any, named: list[str] | None, measure: Measure) -> list[str] | None:
    """The tasks to run; None for the whole split."""
    candidates = measure.splits[measure.experiment.split] if named is None else named
    if options.failed:
        hidden = set() if options.reveal_held_out else measure.held_out
        candidates = _failed_before(options.failed, measure.experiment, candidates, hidden)
    if options.num_tasks:
        candidates = candidates[: options.num_tasks]
    if options.verbose and not options.reveal_held_out and (hidden := measure.held_out & set(candidates)):
        raise UserError(
            f"--verbose shows conversations, and {len(hidden)} of these tasks are held out: take another split, or "
            "add --reveal-held-out, which is recorded"
        )
    return candidates if named is not None or options.failed or options.num_tasks else None


def read_ids(words: list[str]) -> list[str]:
    ids: list[str] = []
    for word in words:
        if not word.startswith("@"):
            ids.append(word)
            continue
        try:
            ids += [line.strip() for line in Path(word[1:]).read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--task-ids {word}: {error}") from error
    return ids


def _failed_before(kind: str, experiment: Experiment, candidates: list[str], hidden: set[str]) -> list[str]:
    """The candidates that ended so in their newest run. Choosing held-out tasks would tell how each of them ended."""
    if candidates and set(candidates) <= hidden:
        raise UserError(
            f"--failed {kind}: held-out tasks are not chosen by their single results; run the split again: "
            "what infrastructure failed is tried again by itself"
        )
    candidates = [task_id for task_id in candidates if task_id not in hidden]
    statuses = last_statuses(Store(default_vault()), experiment)
    failed = [task_id for task_id in candidates if statuses.get(task_id, set()) & RERUN[kind]]
    if not failed:
        raise UserError(
            f"--failed {kind}: nothing to run again: no task of {experiment.domain} {experiment.split} ended so in "
            "its last run"
        )
    return failed
