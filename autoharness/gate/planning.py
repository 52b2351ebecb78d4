"""Which gains the gate can find: measured (`--null`), or calculated before anything is spent (`--plan`)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from autoharness.core.command_form import typed
from autoharness.core.errors import EXIT_UNDECIDED, UserError
from autoharness.core.outcomes import Outcome, Rewards, settled_rewards
from autoharness.core.settings import RATCHET, Experiment
from autoharness.core.stats import TWO_SIDED_95, Dependence, dependence, score_line
from autoharness.engine.benchmark_runner import BenchmarkRunner
from autoharness.engine.score_identity import Measure
from autoharness.gate.gate_run import COMMAND, run_trials
from autoharness.gate.sequential_test import bar, operating_point
from autoharness.vault import code_digest
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Version
from autoharness.vault.store import Store

_GAINS = (0.0, 0.03, 0.05, 0.08, 0.10, 0.15)
_FEW_TASKS = 10
"""How many tasks need several trials for the noise to be measured; with fewer it is bounded by the mean."""


def null(experiment: Experiment, store: Store) -> int:
    """The kept version's held-out score, twice, each with trial seeds of its own."""
    ledger = Ledger(store, BenchmarkRunner.of(experiment).measure().id)
    ledger.check_baseline()
    version = ledger.best
    code_digest.check(store, ledger.evaluator)
    runner = BenchmarkRunner.of(experiment, agent_file=store.agent_file(version.row.agent))
    with runner.open() as bench:
        tasks, first = bench.measure.gate_tasks, version.row.first_trial
        numbers = range(first, first + 2 * experiment.trials)
        trials = [bench.measure.trial(task_id, number, bench.agent) for number in numbers for task_id in tasks]
        run = run_trials(bench, trials, COMMAND)
    later = first + experiment.trials
    halves: list[Rewards] = [
        settled_rewards(outcome for outcome in run.outcomes if outcome.trial.number < later),
        settled_rewards(outcome for outcome in run.outcomes if outcome.trial.number >= later),
    ]
    both = [task_id for task_id in halves[0] if halves[0][task_id] is not None and halves[1][task_id] is not None]
    if not both:
        print("null: undecided, no task could be evaluated twice; the same command runs those again")
        return EXIT_UNDECIDED
    differences = [(halves[1][task_id] or 0.0) - (halves[0][task_id] or 0.0) for task_id in both]
    chosen_by_it = experiment.gate == RATCHET and version.iteration > 0
    shared = _dependence(_stored(bench.measure, store, version), both, later if chosen_by_it else first)
    print("\n".join([*_null_lines(version, halves, differences, experiment.trials), *dependence_lines(shared)]))
    return 0 if len(both) == len(halves[0]) else EXIT_UNDECIDED


def _null_lines(version: Version, halves: list[Rewards], differences: list[float], trials: int) -> list[str]:
    floor = TWO_SIDED_95 * math.sqrt(sum(difference**2 for difference in differences)) / len(differences)
    return [
        f"null: {version.name} against itself, other trial seeds",
        f"first: {score_line(halves[0].values(), trials)}",
        f"second: {score_line(halves[1].values(), trials)}",
        f"flipped: {sum(difference != 0 for difference in differences)} of {len(differences)} tasks",
        f"noise_floor: {100 * floor:.1f} points: two runs with other trial seeds differ by less, 19 times in 20",
    ]


def _dependence(outcomes: Mapping[str, list[Outcome]], tasks: list[str], first: int) -> Dependence | None:
    """From all trials of the version, from number `first` on, that every one of `tasks` has a reward in.

    A trial by which a version was chosen was a lucky one, for all of its tasks.
    """
    rewards = {(one.trial.task_id, one.trial.number): one.reward for some in outcomes.values() for one in some}
    numbers = {number for _, number in rewards if number >= first}
    complete = [n for n in sorted(numbers) if all(rewards.get((task_id, n)) is not None for task_id in tasks)]
    return dependence([[rewards[task_id, number] or 0.0 for number in complete] for task_id in tasks])


def dependence_lines(found: Dependence | None) -> list[str]:
    """What tasks of one trial have in common, and what to do if it is more than chance explains."""
    if not found:
        return []
    lines = [f"dependence: {found.words}"]
    if found.is_seen:
        lines.append(
            f"warning: a trial of {found.tasks} tasks tells as much as {found.worth:.1f} independent tasks, and "
            "verdicts and intervals count all: with seeds: tau2 in experiment_config.yaml set per_task; otherwise "
            "look for what changes from hour to hour"
        )
    return lines


@dataclass(frozen=True)
class Forecast:
    """What is known of the incumbent's trials before a gate run."""

    differing: float
    """The share of pairs that differ, for an edit that changes little."""
    tasks_measured: int
    """How many tasks with several trials it comes from; 0 if it is bounded by the mean reward."""
    cost_usd: float
    """The cost of one simulation."""
    uncosted_calls: int


def plan(experiment: Experiment, store: Store) -> int:
    """Print what one gate run can find, with which probability, and at which cost."""
    if experiment.gate == RATCHET:
        raise UserError("gate: the ratchet takes every trial of every task; --plan is for gate: sequential")
    measure = BenchmarkRunner.of(experiment).measure()
    ledger = Ledger(store, measure.id)
    ledger.check_baseline()
    version = ledger.best
    known = _stored(measure, store, version)
    questions = ledger.questions_about(version.row.agent, "")
    print("\n".join(_plan_lines(experiment, measure, version, _forecast(known), questions)))
    return 0


def _forecast(outcomes: Mapping[str, list[Outcome]]) -> Forecast:
    """From the incumbent's evaluated trials in each held-out task. Raises UserError if there are none."""
    rewards = {task_id: [one.reward for one in some if one.reward is not None] for task_id, some in outcomes.items()}
    everything = [reward for some in rewards.values() for reward in some]
    if not everything:
        raise UserError(f"no trial of the kept version is in the vault: {typed('prepare.py')}")
    several = [some for some in rewards.values() if len(some) > 1]
    usages = [usage for some in outcomes.values() for one in some for usage in one.usage.values()]
    mean = fmean(everything)
    measured = len(several) >= _FEW_TASKS
    differing = fmean(map(_differing, several)) if measured else 2 * mean * (1 - mean)
    return Forecast(
        differing=max(differing, 0.05),
        tasks_measured=len(several) if measured else 0,
        cost_usd=sum(usage.cost_usd for usage in usages) / len(everything),
        uncosted_calls=sum(usage.uncosted_calls for usage in usages),
    )


def _differing(rewards: list[float]) -> float:
    """The share of pairs of a task's trials that differ: an unbiased estimate of that of two further trials."""
    pairs = [(a, b) for n, a in enumerate(rewards) for b in rewards[n + 1 :]]
    return sum(abs(a - b) for a, b in pairs) / len(pairs)


def _stored(measure: Measure, store: Store, version: Version) -> dict[str, list[Outcome]]:
    first = version.row.first_trial
    numbers = range(first, first + max(measure.experiment.max_trials, 2 * measure.experiment.trials))
    return {
        task_id: measure.found(store, (measure.trial(task_id, number, version.row.agent) for number in numbers))
        for task_id in measure.gate_tasks
    }


def _plan_lines(
    experiment: Experiment, measure: Measure, version: Version, known: Forecast, questions: int
) -> list[str]:
    level, most = bar(questions), experiment.max_trials * len(measure.gate_tasks)
    source = "at most, from the mean reward: too few tasks have several trials yet"
    if known.tasks_measured:
        source = f"measured in {known.tasks_measured} tasks with several trials"
    score = experiment.trials * len(measure.gate_tasks)
    is_unpriced = bool(known.uncosted_calls and not known.cost_usd)
    left_out = f", {known.uncosted_calls} calls of unknown price left out" if known.uncosted_calls else ""
    lines = [
        f"plan: one gate run against {version.name} ({measure.words}), accepted at {level:+.1f} tasks",
        f"noise: {100 * known.differing:.0f} % of pairs differ without any change ({source})",
        "cost: price unknown" if is_unpriced else f"cost: ${known.cost_usd:.4f} a simulation{left_out}",
        "gain      accepted  simulations  dollars",
    ]
    for gain in (one for one in _GAINS if one <= known.differing):
        accepted, pairs = operating_point(level, most, known.differing, gain)
        simulations = 2 * pairs + accepted * score
        dollars = "unknown" if is_unpriced else f"{simulations * known.cost_usd:7.2f}"
        lines.append(f"{100 * gain:4.0f} points  {accepted:8.2f}  {simulations:11.0f}  {dollars}")
    return [*lines, f"simulations: of both sides, at most; an accepted edit's score takes {score} of them"]
