"""`python gating.py`: whether the edit of agent/agent.py is kept.

The candidate is run on the regression suite and on the held-out split; a policy decides. Where it accepts, train
tasks that used to fail and now pass are promoted into the suite. Nothing that was run before is run again.
"""

import math
import sys
from dataclasses import replace
from pathlib import Path

from autoharness.cli import Parser, run_door
from autoharness.config import AGENT_FILE, SIMULATED, Experiment, resolve
from autoharness.errors import EXIT_INTERRUPTED, EXIT_UNDECIDED, UserError
from autoharness.ledger import GATE, Ledger, Row, Version
from autoharness.policy import Decision, Evidence, Policy, Ratchet, Verdict
from autoharness.program import python_command
from autoharness.results import Rewards, natural_order, passed, score_line, settled_rewards
from autoharness.runner import Bench, Run, TauBenchRunner
from autoharness.store import Store, default_vault
from autoharness.workspace import export_suite

__all__ = ["main", "run_door"]

_EXIT = {Verdict.ACCEPTED: 0, Verdict.REJECTED: 1, Verdict.UNDECIDED: EXIT_UNDECIDED}
_COMMAND = "gating.py"


class _Interrupted(Exception):
    pass


def main(arguments: list[str]) -> int:
    """The exit code: 0 accepted, 1 rejected, 2 undecided, 3 misuse, 130 interrupted."""
    options = _parser().parse_args(arguments)
    experiment = resolve({}, options.config).experiment
    store = Store(default_vault())
    with store.lock():
        try:
            code = _null(experiment, store) if options.null else _gate(experiment, Ratchet())
        except _Interrupted:
            print("interrupted: what was finished is kept; the same command runs the rest", file=sys.stderr)
            return EXIT_INTERRUPTED
    if experiment.simulated:
        print(SIMULATED)
    return code


def _parser() -> Parser:
    parser = Parser(
        prog="gating.py",
        description="Decide whether the edit of agent/agent.py is kept.",
        epilog="Exit codes: 0 accepted, 1 rejected, 2 undecided (infrastructure), 3 misuse, 130 interrupted.",
    )
    parser.add_argument("--null", action="store_true", help="run the kept version against itself: the noise floor")
    parser.add_argument("--config", type=Path, metavar="FILE", help="instead of experiment_config.yaml")
    return parser


def _gate(experiment: Experiment, policy: Policy) -> int:
    with TauBenchRunner.of(experiment).open() as bench:
        ledger = Ledger(bench.store, bench.measure.id)
        _check_candidate(bench, ledger)
        suite, held_out = _measure_candidate(bench, ledger)
        evidence = Evidence(suite, experiment.threshold, held_out, ledger.best.row.held_out)
        decision = policy.decide(evidence)
        promoted = _promotable(bench, ledger) if decision.verdict == Verdict.ACCEPTED else []
        ledger.append(_row(bench, evidence, decision, promoted))
    export_suite(ledger.suite, experiment.threshold, suite)
    print(_as_text(evidence, decision, promoted, ledger))
    return _EXIT[decision.verdict]


def _check_candidate(bench: Bench, ledger: Ledger) -> None:
    """Raises UserError where there is nothing to compare with, or nothing that differs."""
    if not ledger.versions:
        raise UserError(f"no baseline for {bench.measure.words} as it is configured now: python prepare.py")
    same = [version.name for version in ledger.versions if version.row.agent == bench.agent]
    if same:
        raise UserError(
            f"{AGENT_FILE} is {same[-1]} unchanged: edit it first, or measure the noise: gating.py --null"
        )


def _measure_candidate(bench: Bench, ledger: Ledger) -> tuple[Rewards, Rewards]:
    """The candidate's rewards in the regression suite and in the held-out split."""
    suite, held_out = ledger.suite, bench.measure.gate_tasks
    rewards = _run(bench, [*suite, *held_out]).settled
    return {task_id: rewards[task_id] for task_id in suite}, {task_id: rewards[task_id] for task_id in held_out}


def _promotable(bench: Bench, ledger: Ledger) -> list[str]:
    """Train tasks that the kept versions failed, and that the candidate passes."""
    failed = [task_id for task_id, reward in _kept_results(bench, ledger).items() if not passed(reward)]
    outside = [task_id for task_id in failed if task_id not in ledger.suite]
    rewards = _run(bench, outside).settled if outside else {}
    return sorted((task_id for task_id in outside if passed(rewards[task_id])), key=natural_order)


def _kept_results(bench: Bench, ledger: Ledger) -> Rewards:
    """Each train task's reward in the newest kept version that was run on it."""
    train = bench.measure.train
    results: dict[str, float | None] = {}
    for version in ledger.versions:
        stored = bench.stored(version.row.agent, train)
        results |= {task_id: reward for task_id, reward in stored.items() if reward is not None}
    return results


def _run(bench: Bench, task_ids: list[str]) -> Run:
    run = bench.run(task_ids, _COMMAND)
    bench.export(run)
    if run.interrupted:
        raise _Interrupted
    return run


def _row(bench: Bench, evidence: Evidence, decision: Decision, promoted: list[str]) -> Row:
    return Row(
        kind=GATE,
        measure=bench.measure.id,
        measured=bench.measure.words,
        threshold=bench.experiment.threshold,
        agent=bench.agent,
        held_out=dict(evidence.held_out),
        train=bench.stored(bench.agent, bench.measure.train),
        suite=dict(evidence.suite),
        promoted=promoted,
        verdict=decision.verdict,
        reasons=decision.reasons,
        simulated=bench.experiment.simulated,
        reveals=bench.store.reveals(bench.experiment.domain),
        val_score=decision.val_score,
        best=decision.best,
    )


def _as_text(evidence: Evidence, decision: Decision, promoted: list[str], ledger: Ledger) -> str:
    suite, best = evidence.suite.values(), ledger.best
    compared = [evidence.held_out.get(task_id) for task_id, reward in evidence.best.items() if reward is not None]
    lines = [
        f"suite: {sum(map(passed, suite))}/{len(suite)} passed" if suite else "suite: empty",
        f"val_score: {score_line(compared)}",
        f"best: {'N/A' if decision.best is None else f'{decision.best:.4f}'}  ({best.name})",
    ]
    if promoted:
        lines.append(f"promoted: {len(promoted)} train tasks that used to fail")
        lines += [f"  PROMOTED  {task_id}" for task_id in promoted]
    lines += [f"reason: {reason}" for reason in decision.reasons]
    reveals = ledger.rows[-1].reveals
    if reveals:
        lines.append(f"revealed: single held-out results were shown {reveals} times before this verdict")
    return "\n".join([*lines, f"verdict: {decision.verdict}", f"next: {_next(decision.verdict)}"])


def _next(verdict: Verdict) -> str:
    return {
        Verdict.ACCEPTED: f"{python_command()} record.py",
        Verdict.REJECTED: f"git checkout HEAD {AGENT_FILE}, and note in workspace/learnings.md what did not help",
        Verdict.UNDECIDED: f"{python_command()} gating.py again: it runs only what is missing",
    }[verdict]


def _null(experiment: Experiment, store: Store) -> int:
    """The kept version's held-out score, twice, each with trial seeds of its own."""
    versions = Ledger(store, TauBenchRunner.of(experiment).measure().id).versions
    if not versions:
        raise UserError("no baseline yet: python prepare.py")
    twice = replace(experiment, trials=2 * experiment.trials)
    runner = TauBenchRunner.of(twice, agent_file=store.agent_file(versions[-1].row.agent))
    with runner.open() as bench:
        run = _run(bench, bench.measure.gate_tasks)
    first = [outcome for outcome in run.outcomes if outcome.trial.number < experiment.trials]
    second = [outcome for outcome in run.outcomes if outcome.trial.number >= experiment.trials]
    halves: list[Rewards] = [settled_rewards(first), settled_rewards(second)]
    both = [task_id for task_id in halves[0] if halves[0][task_id] is not None and halves[1][task_id] is not None]
    if not both:
        return EXIT_UNDECIDED
    differences = [(halves[1][task_id] or 0.0) - (halves[0][task_id] or 0.0) for task_id in both]
    print("\n".join(_null_lines(versions[-1], halves, differences)))
    return 0 if len(both) == len(halves[0]) else EXIT_UNDECIDED


def _null_lines(version: Version, halves: list[Rewards], differences: list[float]) -> list[str]:
    floor = 1.96 * math.sqrt(sum(difference**2 for difference in differences)) / len(differences)
    return [
        f"null: {version.name} against itself, other trial seeds",
        f"first: {score_line(halves[0].values())}",
        f"second: {score_line(halves[1].values())}",
        f"flipped: {sum(difference != 0 for difference in differences)} of {len(differences)} tasks",
        f"noise_floor: {100 * floor:.1f} points: two runs with other trial seeds differ by less, 19 times in 20",
    ]
