"""`python report.py --confirm`: confirms the result, baseline against best, on trials that no verdict used.

If `confirm_split` is set, its tasks are part of no verdict; otherwise the tasks are those of gate_split. Either way
the trials have numbers that nothing else uses. Each best version is confirmed once: after that, the command prints
what was found.
"""

from collections.abc import Sequence
from statistics import fmean

from autoharness.core.errors import EXIT_UNDECIDED, UserError
from autoharness.core.pass_k import Repeats
from autoharness.core.settings import SIMULATED, Experiment
from autoharness.core.stats import mean_interval
from autoharness.engine.benchmark_runner import BenchmarkRunner
from autoharness.engine.trial_runner import CONFIRM, Bench
from autoharness.gate.comparison import Comparison, TaskRewards, dependence_of, left_out, sides_of
from autoharness.gate.gate_run import is_void, looks_of, run_trials
from autoharness.vault import code_digest
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import RULES, Confirmation, Side, Version, reveal_lines
from autoharness.vault.store import Store

_FIRST_NUMBER = 100_000
"""The number of its first trials: far beyond those of any gate, and of any run by hand."""


def confirm(experiment: Experiment, store: Store) -> int:
    """Exit code 0, or 2 if infrastructure kept trials from being evaluated. Raises UserError, Interrupted."""
    best = _best(Ledger(store, BenchmarkRunner.of(experiment).measure().id))
    runner = BenchmarkRunner.of(experiment, agent_file=store.agent_file(best.row.agent))
    with runner.open(*Ledger(store).agents) as bench:
        ledger = Ledger(store, bench.measure.id)
        split = experiment.confirm_split or experiment.gate_split
        found = _found(ledger, best, split) or _run(bench, ledger, best, split)
    if found is None:
        print("undecided: some trials could not be evaluated; the same command runs those again")
        return EXIT_UNDECIDED
    print("\n".join(_as_text(found, best, ledger)))
    return 0 if Comparison.confirmed_by(found) else EXIT_UNDECIDED


def _best(ledger: Ledger) -> Version:
    ledger.check_baseline()
    if not ledger.best.iteration:
        raise UserError("nothing was accepted yet: the baseline is the best version")
    return ledger.best


def _found(ledger: Ledger, best: Version, split: str) -> Confirmation | None:
    """What an earlier call found about this version."""
    rows = [row for row in ledger.rows if isinstance(row, Confirmation)]
    same = [row for row in rows if (row.agent, row.split) == (best.row.agent, split)]
    return same[-1] if same else None


def _run(bench: Bench, ledger: Ledger, best: Version, split: str) -> Confirmation | None:
    """Run both sides' trials, interleaved. None if some have no reward."""
    baseline, tasks = ledger.versions[0].row.agent, bench.measure.confirm_tasks
    bench.measure.check_splits()
    code_digest.check(bench.store, bench.accepted)
    numbers = range(_FIRST_NUMBER, _FIRST_NUMBER + bench.experiment.confirm_trials)
    sides = [(number, task_id, agent) for number in numbers for task_id in tasks for agent in (baseline, bench.agent)]
    trials = [bench.measure.trial(task_id, number, agent) for number, task_id, agent in sides]
    run = run_trials(bench, trials, CONFIRM)
    if any(outcome.reward is None and not is_void(outcome) for outcome in run.outcomes):
        return None
    row = Confirmation(
        evaluator=code_digest.check(bench.store, bench.accepted),
        measure=bench.measure.id,
        measured=bench.measure.words,
        agent=best.row.agent,
        experiment=bench.experiment.to_json(),
        tasks=tasks,
        looks=looks_of(bench, run.outcomes, bench.agent),
        simulated=bench.experiment.simulated,
        reveals=bench.store.reveals(bench.experiment.domain),
        baseline=baseline,
        split=split,
        rules=RULES,
    )
    return ledger.append(row)


def _as_text(row: Confirmation, best: Version, ledger: Ledger) -> list[str]:
    found, out = Comparison.confirmed_by(row), left_out(row)
    if found is None:
        return [f"confirm: none, tau2 could not evaluate {len(out)} of {len(row.tasks)} tasks for either version"]
    before, after = sides_of(row)
    trials = min(map(len, after.values()))
    measured = f"{row.split}, {found.tasks} tasks x {trials} trials, {row.time}"
    lines = [
        f"confirm: {best.name} against the baseline, {measured}",
        f"baseline: {_score(list(before.values()), trials)}{_if_void_passed(row, Side.INCUMBENT, before)}",
        f"best: {_score(list(after.values()), trials)}{_if_void_passed(row, Side.CANDIDATE, after)}",
        f"difference: {found.points}",
        f"confirmed: {_confirmed(found)}",
        *_dependence(row),
        *([f"left_out: {len(out)} of {len(row.tasks)} tasks, which tau2 could not evaluate"] if out else []),
        *_warnings(row),
        f"gate_runs: {ledger.questions} before",
        f"questions: {ledger.questions} asked of the gate's holdout before",  # as earlier versions said it
    ]
    if row.split == row.experiment["gate_split"]:
        lines.append("split: the gate chose on these tasks, by other trials; a confirm_split of its own says more")
    lines += [*reveal_lines(row), *ledger.evaluator_lines]
    return [*lines, SIMULATED] if row.simulated else lines


def _dependence(row: Confirmation) -> list[str]:
    found, shared = Comparison.confirmed_by(row), dependence_of(row)
    if not found or not found.by_trial:
        return []
    measured = f"{shared.words}: " if shared else ""
    return [f"dependence: {measured}the interval of the difference counts each trial's luck too"]


def _if_void_passed(row: Confirmation, side: Side, rewards: TaskRewards) -> str:
    """What the score would be if the trials that tau2 could not evaluate had passed; they count 0."""
    void = [look.task_id for look in row.looks if look.void and look.side == side and look.task_id in rewards]
    if not void or not row.rules:
        return ""
    at_best = fmean((sum(some) + void.count(task_id)) / len(some) for task_id, some in rewards.items())
    return f"; {len(void)} trials count 0 that tau2 could not evaluate, {at_best:.4f} if they had passed"


def _warnings(row: Confirmation) -> list[str]:
    """What a reader should know about the trials before trusting the confirmed result."""
    lines = []
    for side, name in ((Side.INCUMBENT, "baseline"), (Side.CANDIDATE, "best")):
        looks = [look for look in row.looks if look.side == side]
        if again := sum(look.tries > 1 for look in looks):
            lines.append(f"tried_again: {again} of {len(looks)} simulations of the {name}")
        if addressed := sum(look.addressed for look in looks):
            where = f"{addressed} of {len(looks)} simulations of the {name}"
            lines.append(f"warning: words meant for the user simulator or the judge in {where}")
    return lines


def _confirmed(found: Comparison) -> str:
    low, high = found.interval
    return "yes" if low > 0 else "no: it is worse" if high < 0 else "no: the interval holds 0"


def _score(tasks: Sequence[Sequence[float]], trials: int) -> str:
    low, high = mean_interval([fmean(rewards) for rewards in tasks])
    mean = fmean([fmean(rewards) for rewards in tasks])
    repeats = Repeats.of_rewards(dict(enumerate(tasks)), trials)
    powers = ", ".join(f"pass^{k} {repeats.pass_hat(k):.4f}" for k in range(1, trials + 1))
    return f"{mean:.4f}  95 % interval {low:.2f} to {high:.2f}, {powers}, pass@{trials} {repeats.pass_at(trials):.4f}"
