"""`python benchmark.py`: run the train split, or the tasks that are named, and print what each scored."""

import json
import sys
from collections import defaultdict
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from autoharness.callbacks import Callback
from autoharness.cli import Parser, run_door
from autoharness.config import Experiment, Resolved, read_value, resolve
from autoharness.errors import EXIT_INTERRUPTED, EXIT_UNDECIDED, UserError
from autoharness.ledger import Ledger
from autoharness.measure import Measure
from autoharness.own_benchmark import Check, Result, Simulation
from autoharness.results import EVALUATED, PLAINLY, VERIFIED, Outcome, Status, Trial, rewards_by_task
from autoharness.runner import Bench, BenchmarkRunner, Run, TauBenchRunner, last_statuses
from autoharness.scorecard import Scorecard
from autoharness.scrub import one_line
from autoharness.store import Store, default_vault
from autoharness.tasks import Step
from autoharness.terminal import dashboard
from autoharness.workspace import Changes, export_train_results

__all__ = [
    "BenchmarkRunner",
    "Callback",
    "Check",
    "Outcome",
    "Result",
    "Simulation",
    "Step",
    "TauBenchRunner",
    "Trial",
    "main",
    "run_door",
]

_FAILED = {Status.FAILED, Status.AGENT_ERROR, Status.TIMED_OUT}
_RERUN = {str(status): {status} for status in Status} | {
    "failed": _FAILED,
    "errors": set(Status) - EVALUATED,
    "all": set(Status) - {Status.PASSED},
}


def main(arguments: list[str]) -> int:
    """The exit code: 0 every task was evaluated, 2 infrastructure kept some from it."""
    options = _parser().parse_args(arguments)
    resolved = resolve(_settings(options), options.config, options.set, controls=True)
    named = _read_ids(options.task_ids) if options.task_ids else None
    if options.dry_run:
        return _dry_run(resolved, options.json)
    with (
        dashboard(Store(default_vault())) as progress,
        BenchmarkRunner.of(resolved.experiment, progress=progress).open() as bench,
    ):
        task_ids = _choose(options, named, bench.measure)
        run = bench.run(task_ids, "benchmark.py", options.reveal_held_out)
        changes = _export(run, bench)
    card = Scorecard.of(run, bench.measure, changes, options.reveal_held_out)
    _explain(run, set() if options.reveal_held_out else bench.measure.held_out)
    print(json.dumps(card.to_json(), indent=1) if options.json else "\n".join(card.lines))
    if run.interrupted:
        left = run.planned - len(run.outcomes)
        print(f"interrupted: {left} simulations are left; the same command runs them", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_UNDECIDED if any(outcome.reward is None for outcome in run.outcomes) else 0


def _parser() -> Parser:
    parser = Parser(
        prog="benchmark.py",
        description="Run benchmark tasks with agent/agent.py and print each task's reward.",
        epilog="Exit codes: 0 all evaluated, 2 infrastructure kept some from it, 3 misuse, 130 interrupted.",
    )
    parser.add_argument("--task-ids", nargs="+", metavar="ID", help="run these tasks; @FILE reads ids, one to a line")
    parser.add_argument(
        "--failed",
        nargs="?",
        const="all",
        choices=list(_RERUN),
        metavar="HOW",
        help="run what failed last time, had errors (`errors`), both, or ended with a status such as judge_error",
    )
    parser.add_argument("--num-tasks", type=_count, metavar="N", help="run the first N of the tasks")
    parser.add_argument("--domain", help="airline, retail, telecom, mock, telecom-workflow, banking_knowledge")
    parser.add_argument("--split", help="train, test, base or another split of the domain")
    parser.add_argument(
        "--trials", "--num-trials", type=int, metavar="N", help="run every task N times, each with a seed of its own"
    )
    parser.add_argument(
        *("--concurrency", "--max-concurrency"),
        dest="max_concurrency",
        type=int,
        metavar="N",
        help="conversations in flight",
    )
    parser.add_argument("--max-steps", type=int, metavar="N", help="end a conversation after N steps")
    parser.add_argument("--agent", help="a control in the harness's place: llm_agent, llm_agent_solo, llm_agent_gt")
    _add_models(parser)
    parser.add_argument("--reasoning-effort", metavar="EFFORT")
    parser.add_argument("--seed", type=int, metavar="N", help="root of the trial seeds")
    parser.add_argument(
        "--verify-sample",
        type=float,
        metavar="P",
        help="score this share of the simulations once more on tau2's plain path",
    )
    parser.add_settings()
    parser.add_argument("--dry-run", action="store_true", help="print the resolved experiment and run nothing")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument(
        "--reveal-held-out",
        action="store_true",
        help="show single results of held-out tasks; this is recorded",
    )
    return parser


def _add_models(parser: Parser) -> None:
    """Each by our name and by tau2's own."""
    kinds = {
        "agent": "a litellm model, or replay/FILE",
        "user": "the user simulator's; the agent's where not given",
        "judge": "the judge's; the user simulator's where not given",
    }
    for role, what in kinds.items():
        parser.add_argument(f"--{role}-model", f"--{role}-llm", dest=f"{role}_model", metavar="MODEL", help=what)
        parser.add_argument(f"--{role}-url", metavar="URL", help="where it is asked; speaks OpenAI's protocol")
        parser.add_argument(f"--{role}-api-key-name", metavar="NAME", help="the variable with the key to that server")
    for option in ("--agent-llm-args", "--user-llm-args"):
        as_json = partial(read_value, source=option)
        parser.add_argument(option, type=as_json, metavar="JSON", help="such as '{\"temperature\": 0.2}'")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _settings(options: Any) -> dict[str, Any]:
    return {field.name: getattr(options, field.name, None) for field in fields(Experiment)}


def _choose(options: Any, named: list[str] | None, measure: Measure) -> list[str] | None:
    """The tasks to run; None for the whole split."""
    candidates = measure.splits[measure.experiment.split] if named is None else named
    if options.failed:
        hidden = set() if options.reveal_held_out else measure.held_out
        candidates = _failed_before(options.failed, measure.experiment, candidates, hidden)
    if options.num_tasks:
        candidates = candidates[: options.num_tasks]
    return candidates if named is not None or options.failed or options.num_tasks else None


def _read_ids(words: list[str]) -> list[str]:
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
    failed = [task_id for task_id in candidates if statuses.get(task_id, set()) & _RERUN[kind]]
    if not failed:
        raise UserError(
            f"--failed {kind}: nothing to run again: no task of {experiment.split} ended so in its last run"
        )
    return failed


def _dry_run(resolved: Resolved, as_json: bool) -> int:
    settings = resolved.experiment.to_json()
    measure = BenchmarkRunner.of(resolved.experiment).measure()
    sizes = {name: len(ids) for name, ids in measure.splits.items()}
    if as_json:
        document = {"experiment": settings, "sources": resolved.sources, measure.kind: measure.benchmark}
        print(json.dumps({**document, "splits": sizes}, indent=1))
        return 0
    for name, value in settings.items():
        print(f"{name}: {json.dumps(value)}  ({resolved.sources[name]})")
    print(f"{measure.kind}: {measure.installed}, data {measure.benchmark['data_checksum'][:12]}")
    print(f"splits: {', '.join(f'{name} {size}' for name, size in sizes.items())}")
    return 0


def _export(run: Run, bench: Bench) -> Changes | None:
    """Leave the train part of the run where the coding agent reads it, with what changed since the last version."""
    train = rewards_by_task(bench.export(run))
    if not train:
        return None
    versions = Ledger(bench.store, bench.measure.id).versions
    changes = None
    if versions and versions[-1].row.agent != bench.agent:
        before = bench.stored(versions[-1].row.agent, list(train))
        changes = Changes.between(versions[-1].name, before, train)
    export_train_results(train, changes)
    return changes


def _explain(run: Run, hidden: set[str]) -> None:
    """On standard error: why simulations have no reward, or scored 0 without a conversation's end.

    Of a held-out task no more than that it has no reward: a reason for a 0 would be its result.
    """
    reasons: dict[str, list[str]] = defaultdict(list)
    for outcome in run.outcomes:
        held = outcome.trial.task_id in hidden
        if outcome.status not in (Status.PASSED, Status.FAILED) and not (held and outcome.status in EVALUATED):
            reasons[f"{outcome.status}: {'(held out)' if held else outcome.detail}"].append(outcome.trial.task_id)
    for reason, task_ids in reasons.items():
        who = f"{len(task_ids)} simulations" if len(task_ids) > 3 or "(held out)" in reason else ", ".join(task_ids)
        print(f"[benchmark] {who}: {one_line(reason, 1000)}", file=sys.stderr)  # the agent's words may be in it
    notes = [note for outcome in run.outcomes for note in outcome.notes]
    same, otherwise = notes.count(VERIFIED), sum(note.startswith(PLAINLY) for note in notes)
    if same or otherwise:
        counts = f"{same} simulations {VERIFIED}, {otherwise} did not and were run on it"
        print(f"[benchmark] {counts}", file=sys.stderr)
    print(f"[benchmark] log: {run.folder}", file=sys.stderr)
