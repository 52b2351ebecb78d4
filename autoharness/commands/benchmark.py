"""`python benchmark.py`: run the train split, or the tasks that are named, and print what each scored."""

import json
import re
import sys
from argparse import ArgumentTypeError
from collections import defaultdict
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from autoharness.benchmarks.simulation import Check, Result, Simulation
from autoharness.commands import matrix
from autoharness.commands.cli import Parser, run_door
from autoharness.commands.dry_run import dry_run
from autoharness.commands.matrix import Cell
from autoharness.commands.scorecard import Scorecard
from autoharness.commands.task_selection import RERUN, choose, read_ids
from autoharness.commands.transcript import Transcript
from autoharness.core.errors import EXIT_INTERRUPTED, EXIT_UNDECIDED, UserError
from autoharness.core.outcomes import (
    CUT,
    CUT_OFF,
    EVALUATED,
    NO_SERVER,
    OTHER_ROLES,
    PLAINLY,
    VERIFIED,
    Outcome,
    Status,
    Trial,
    rewards_by_task,
)
from autoharness.core.redaction import one_line
from autoharness.core.setting_sources import read_value, resolve
from autoharness.core.settings import Experiment
from autoharness.core.tasks import Step
from autoharness.engine.benchmark_runner import BenchmarkRunner, TauBenchRunner
from autoharness.engine.callbacks import Callback
from autoharness.engine.run_budget import RunBudget
from autoharness.engine.trial_runner import Bench, Run
from autoharness.report.dashboard import dashboard
from autoharness.vault.ledger import Ledger
from autoharness.vault.store import Store, default_vault
from autoharness.vault.workspace import Changes, export_train_results

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

_NO_CONNECTION = re.compile(re.escape(NO_SERVER) + ": (connection refused|its name is not known|no connection)")


def main(arguments: list[str]) -> int:
    """The exit code: 0 if every task was evaluated, 2 if infrastructure prevented some."""
    options = _parser().parse_args(arguments)
    typed = {one.name: getattr(options, one.name, None) for one in fields(Experiment) if one.name != "domain"}
    domains = options.domain or []
    named = read_ids(options.task_ids) if options.task_ids else None
    if options.matrix or len(domains) > 1:
        return _run_all(matrix.cells(options.matrix, typed, options.config, options.set, domains), options, named)
    if domains:
        typed["domain"] = domains[0]
    resolved = resolve(typed, options.config, options.set, baseline_agents=True)
    if options.dry_run:
        return dry_run([resolved], options.json)
    card = _run(resolved.experiment, options, named)
    print(json.dumps(card.to_json(), indent=1) if options.json else "\n".join(card.lines))
    return _exit_code([card.run])


def _run(experiment: Experiment, options: Any, named: list[str] | None, budget: RunBudget | None = None) -> Scorecard:
    """One run. `budget`: that of a command with several runs; only a command with one run writes `workspace/`."""
    callbacks = [Transcript()] if options.verbose else []
    with (
        dashboard(Store(default_vault())) as progress,
        BenchmarkRunner.of(experiment, budget=budget, progress=progress, callbacks=callbacks).open() as bench,
    ):
        task_ids = choose(options, named, bench.measure)
        run = bench.run(task_ids, "benchmark.py", options.reveal_held_out)
        changes = None if budget else _export(run, bench)
    _explain(run, set() if options.reveal_held_out else bench.measure.held_out)
    card = Scorecard.of(run, bench.measure, changes, options.reveal_held_out)
    if card.not_comparable:
        print(f"[benchmark] not comparable with published scores: {'; '.join(card.not_comparable)}", file=sys.stderr)
    return card


def _run_all(cells: list[Cell], options: Any, named: list[str] | None) -> int:
    """Several runs, one after the other: each prints its results as it ends, and there is a table of all."""
    if options.failed and options.matrix:
        raise UserError("--failed looks at the last run, and does not go with --matrix")
    if named and len({cell.experiment.domain for cell in cells}) > 1:
        raise UserError("--task-ids: the runs are of several domains, and each has other tasks")
    if options.dry_run:
        return dry_run([cell.resolved for cell in cells], options.json)
    for cell in cells:  # before anything is paid for
        choose(options, named, BenchmarkRunner.of(cell.experiment).measure())
    done: list[tuple[Cell, Scorecard]] = []
    budget = RunBudget(cells[0].experiment)
    try:
        for cell in cells:
            card = _run(cell.experiment, options, named, budget)
            done.append((cell, card))
            if not options.json:
                print("\n".join([*cell.lines, *card.lines, ""]), flush=True)
            if card.run.interrupted:
                break
    finally:
        if done:
            document = json.dumps(matrix.as_json(done, cells), indent=1) if options.json else ""
            print(document or "\n".join(matrix.lines(done, cells)))
    return _exit_code([card.run for _, card in done])


def _exit_code(runs: list[Run]) -> int:
    if runs[-1].interrupted:
        left = runs[-1].planned - len(runs[-1].outcomes)
        print(f"interrupted: {left} simulations are left; the same command runs them", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_UNDECIDED if any(outcome.reward is None for run in runs for outcome in run.outcomes) else 0


def _parser() -> Parser:
    parser = Parser(
        prog="benchmark.py",
        description="Run benchmark tasks with agent/agent.py and print each task's reward.",
        epilog="Exit codes: 0 all evaluated, 2 infrastructure or a limit of the run kept some from it, 3 misuse, "
        "130 interrupted.",
    )
    parser.add_argument("--task-ids", nargs="+", metavar="ID", help="run these tasks; @FILE reads ids, one to a line")
    parser.add_argument(
        "--failed",
        nargs="?",
        const="all",
        choices=list(RERUN),
        metavar="HOW",
        help="run what failed last time, had errors (`errors`), both, or ended with a status such as judge_error",
    )
    parser.add_argument("--num-tasks", type=_count, metavar="N", help="run the first N of the tasks")
    parser.add_argument(
        "--domain",
        nargs="+",
        help="one or several: airline, retail, telecom, mock, telecom-workflow, banking_knowledge",
    )
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
    parser.add_argument("--agent", help="a baseline agent of tau2 instead of the harness, such as llm_agent")
    parser.add_argument("--user", metavar="MODULE:CLASS", help="a user simulator of your own (docs/tau2.md)")
    _add_models(parser)
    parser.add_argument("--reasoning-effort", metavar="EFFORT")
    parser.add_argument("--seed", type=int, metavar="N", help="root of the trial seeds")
    parser.add_argument(
        "--verify-sample",
        type=float,
        metavar="P",
        help="score this fraction of the simulations again with unmodified tau2",
    )
    parser.add_settings()
    parser.add_argument(
        "--matrix",
        type=Path,
        metavar="FILE",
        help="every combination of the settings in FILE, such as agent_model: [a, b]",
    )
    parser.add_argument("--verbose", action="store_true", help="show the conversations as they happen")
    parser.add_argument("--dry-run", action="store_true", help="print the resolved experiment and run nothing")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument(
        "--reveal-held-out",
        action="store_true",
        help="show single results of held-out tasks; this is recorded",
    )
    return parser


def _add_models(parser: Parser) -> None:
    """Add each model's options, by auto-harness's name and by tau2's own."""
    kinds = {
        "agent": "model of the agent: any litellm model, or replay/FILE",
        "user": "model of the user simulator (default: the agent's model)",
        "judge": "model of the judge (default: the user simulator's model)",
    }
    for role, what in kinds.items():
        parser.add_argument(f"--{role}-model", f"--{role}-llm", dest=f"{role}_model", metavar="MODEL", help=what)
        where = f"base URL of an OpenAI-compatible server for the {role} model"
        parser.add_argument(f"--{role}-url", metavar="URL", help=where)
        parser.add_argument(f"--{role}-api-key-name", metavar="NAME", help="the variable with the key to that server")
    for option in ("--agent-llm-args", "--user-llm-args", "--judge-llm-args"):
        as_json = partial(read_value, source=option)
        parser.add_argument(option, type=as_json, metavar="JSON", help="such as '{\"temperature\": 0.2}'")


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return number


def _export(run: Run, bench: Bench) -> Changes | None:
    """Put the train part of the run where the coding agent reads it, with what changed since the last version."""
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
    """Print on standard error why simulations have no reward, or scored 0 without a conversation's end.

    Of a held-out task it says only that it has no reward, and whether a server was not there: a reason for a 0 would
    be its result.
    """
    reasons: dict[str, list[str]] = defaultdict(list)
    for outcome in run.outcomes:
        held = outcome.trial.task_id in hidden
        if outcome.status not in (Status.PASSED, Status.FAILED) and not (held and outcome.status in EVALUATED):
            why = told_of_held_out(outcome) if held else outcome.detail
            reasons[f"{outcome.status}: {why}"].append(outcome.trial.task_id)
    for reason, task_ids in reasons.items():
        who = f"{len(task_ids)} simulations" if len(task_ids) > 3 or "(held out)" in reason else ", ".join(task_ids)
        print(f"[benchmark] {who}: {one_line(reason, 1000)}", file=sys.stderr)  # the agent's words may be in it
    shown = [outcome.notes for outcome in run.outcomes if outcome.trial.task_id not in hidden]
    notes = [note for of_one in shown for note in of_one]
    same, otherwise = notes.count(VERIFIED), sum(note.startswith(PLAINLY) for note in notes)
    if same or otherwise:
        counts = f"{same} simulations {VERIFIED}, {otherwise} did not and were run on it"
        print(f"[benchmark] {counts}", file=sys.stderr)
    for beginning in (CUT, CUT_OFF, OTHER_ROLES):
        if found := [note for note in notes if note.startswith(beginning)]:
            many = sum(any(note.startswith(beginning) for note in of_one) for of_one in shown)
            print(f"[benchmark] {many} simulations: {found[0]}", file=sys.stderr)
    print(f"[benchmark] log: {run.folder}", file=sys.stderr)


def told_of_held_out(outcome: Outcome) -> str:
    """Only what says nothing about the task: that a connection failed."""
    if outcome.reward is None and (found := _NO_CONNECTION.search(outcome.detail)):
        return f"(held out) {found[0]}"
    return "(held out)"
