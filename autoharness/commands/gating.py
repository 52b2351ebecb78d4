"""`python gating.py`: decides whether the edit of agent/agent.py is kept, and says why."""

import sys
from argparse import Namespace
from contextlib import nullcontext

from autoharness.commands.cli import Parser, run_door
from autoharness.core.command_form import typed
from autoharness.core.errors import EXIT_UNDECIDED
from autoharness.core.outcomes import passed
from autoharness.core.setting_sources import resolve
from autoharness.core.settings import AGENT_FILE, RATCHET, SIMULATED, Experiment
from autoharness.core.stats import bounds, score_line
from autoharness.engine.benchmark_runner import BenchmarkRunner
from autoharness.gate.gate import judge
from autoharness.gate.planning import null, plan
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Gate, Side, Verdict, reveal_lines, scored_looks
from autoharness.vault.store import Store, default_vault
from autoharness.vault.workspace import set_aside_edited

__all__ = ["main", "run_door"]

_EXIT = {Verdict.ACCEPTED: 0, Verdict.REJECTED: 1, Verdict.UNDECIDED: EXIT_UNDECIDED}
_MOST_LEAKS_SHOWN = 20


def main(arguments: list[str]) -> int:
    """The exit code: 0 accepted, 1 rejected, 2 undecided. Raises UserError, Interrupted."""
    options = _parser().parse_args(arguments)
    experiment = resolve({}, options.config, options.set).experiment
    store = Store(default_vault())
    with nullcontext() if options.plan else store.lock():  # a plan only reads: it may be asked while the loop runs
        code = _command(options, experiment, store)
    if experiment.simulated:
        print(SIMULATED)
    return code


def _parser() -> Parser:
    parser = Parser(
        prog="gating.py",
        description="Decide whether the edit of agent/agent.py is kept.",
        epilog="Exit codes: 0 accepted, 1 rejected, 2 undecided (infrastructure, or a limit of the run), 3 misuse, "
        "130 interrupted.",
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--null", action="store_true", help="run the kept version against itself: the noise floor")
    only.add_argument("--plan", action="store_true", help="what the gate could find, at which cost; runs nothing")
    parser.add_settings()
    return parser


def _command(options: Namespace, experiment: Experiment, store: Store) -> int:
    if options.null:
        return null(experiment, store)
    return plan(experiment, store) if options.plan else _gate(experiment, store)


def _gate(experiment: Experiment, store: Store) -> int:
    for line in set_aside_edited(Ledger(store)):
        print(f"[gate] {line}", file=sys.stderr)
    with BenchmarkRunner.of(experiment).open(*Ledger(store).agents) as bench:
        gate = judge(bench)
    print("\n".join(_as_text(gate, Ledger(store, gate.measure))))
    return _EXIT[Verdict(gate.verdict)]


def _as_text(gate: Gate, ledger: Ledger) -> list[str]:
    lines = [_suite_line(gate), *_score_lines(gate, ledger)]
    if gate.promoted:
        lines.append(f"promoted: {len(gate.promoted)} train tasks that used to fail")
        lines += [f"  PROMOTED  {task_id}" for task_id in gate.promoted]
    lines += [f"  QUARANTINED  {task_id}" for task_id, reward in gate.suite_checks.items() if reward == 0.0]
    shown = gate.reasons[:_MOST_LEAKS_SHOWN]
    lines += [f"reason: {reason}" for reason in shown]
    runs, here = ledger.questions, ledger.questions_about(gate.incumbent, "")
    lines.append(f"gate_runs: {runs} ({here} against this incumbent)")
    older = f"{runs} asked of the holdout, {here} about this incumbent"  # as earlier versions said it
    lines.append(f"questions: {older}")
    if gate.runs_by_hand:
        lines.append(f"by hand: held-out tasks were run {gate.runs_by_hand} times by other commands than the gate's")
    lines += [*reveal_lines(gate), *ledger.evaluator_lines]
    return [*lines, f"verdict: {gate.verdict}", f"next: {_next(Verdict(gate.verdict))}"]


def _suite_line(gate: Gate) -> str:
    count = sum(map(passed, gate.suite.values()))
    return f"suite: {count}/{len(gate.suite)} passed" if gate.suite else "suite: empty"


def _score_lines(gate: Gate, ledger: Ledger) -> list[str]:
    """The score, or what it could have been: a rejected candidate's first trial is not completed."""
    best = "N/A" if gate.best is None else f"{gate.best:.4f}"
    lines, trials = [f"best: {best}  ({ledger.best.name})"], gate.experiment["trials"]
    if gate.val_score is not None:
        return [f"val_score: {score_line(gate.held_out.values(), trials)}", *lines]
    if not gate.asked:
        return ["val_score: N/A  (held-out tasks were not run)", *lines]
    if gate.experiment["gate"] == RATCHET:
        rewards = scored_looks(gate.looks, gate.best_held_out, gate.rules)
        return [f"val_score: {score_line(rewards.values(), trials)}", *lines]
    ours = [look for look in gate.looks if look.side == Side.CANDIDATE]
    number = min((look.number for look in ours), default=0)
    first = [0.0 if look.void else look.reward for look in ours if look.number == number]
    low, high = bounds([*first, *[None] * (len(gate.tasks) - len(first))])
    return [f"val_score: N/A  (by its first trial, as far as it went, between {low:.2f} and {high:.2f})", *lines]


def _next(verdict: Verdict) -> str:
    return {
        Verdict.ACCEPTED: typed("record.py"),
        Verdict.REJECTED: f"git checkout HEAD {AGENT_FILE}, and note in workspace/learnings.md what did not help",
        Verdict.UNDECIDED: f"{typed('gating.py')} again: it runs only what is missing",
    }[verdict]
