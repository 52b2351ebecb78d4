"""The gate: whether the edit of agent/agent.py is kept.

    1  the leak scan: does the edit carry answers?                       costs nothing
    2  the regression suite: does it break what earlier edits fixed?     train tasks
    3  the holdout: is it better than the incumbent?                     a policy decides, trial by trial
    4  if it is: its score, and the train tasks it fixed are promoted into the suite

The first step that says no ends the gate. Nothing that was run before is run again.
"""

from dataclasses import replace

from autoharness.core.command_form import typed
from autoharness.core.errors import UserError
from autoharness.core.outcomes import Rewards, Trial, mean, natural_order, passed
from autoharness.core.settings import AGENT_FILE, RATCHET, Experiment
from autoharness.engine.trial_runner import Bench, Run
from autoharness.gate.gate_run import (
    COMMAND,
    FIRST_TRIAL,
    Answer,
    Tries,
    ask,
    fault,
    looks_of,
    opened,
    policy_of,
    run_trials,
    score,
)
from autoharness.gate.regression_suite import PROMOTION_TRIALS, SuiteVerdict, floor, veto, veto_after_checks
from autoharness.vault import code_digest
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Gate, Look, Side, Verdict, settled_looks
from autoharness.vault.workspace import export_ledger


def judge(bench: Bench) -> Gate:
    """The verdict on the bench's agent file against the best version, as a new row of the ledger.

    Raises UserError if there is nothing to judge, Interrupted, and RunLimitReached.
    """
    store = bench.store
    ledger = Ledger(store, bench.measure.id)
    bench.measure.check_splits()
    _check_candidate(bench, ledger)
    code_digest.check(store, bench.accepted)
    gate = _decide(bench, ledger, replace(opened(bench, ledger, ledger.best), evaluator=bench.accepted))
    code_digest.check(store, bench.accepted)
    domain = bench.experiment.domain
    gate = replace(gate, reveals=store.reveals(domain), runs_by_hand=store.runs_by_hand(domain))
    gate = ledger.append(gate)
    export_ledger(Ledger(store))
    return gate


def _check_candidate(bench: Bench, ledger: Ledger) -> None:
    """Raises UserError if there is nothing to compare with, or nothing that differs."""
    if not ledger.versions:
        raise UserError(f"no baseline for {bench.measure.words} as it is configured now: {typed('prepare.py')}")
    same = [version.name for version in ledger.versions if version.row.agent == bench.agent]
    if same:
        raise UserError(
            f"{AGENT_FILE} is that of {same[-1]}, unchanged: edit it first, or measure the noise: "
            f"{typed('gating.py --null')}"
        )


def _decide(bench: Bench, ledger: Ledger, gate: Gate) -> Gate:
    """The steps of one gate. Each one adds to the row what it found."""
    leaks = bench.leaks(gate.incumbent)
    if leaks:
        return replace(gate, verdict=Verdict.REJECTED, leaks=len(leaks), reasons=leaks)
    gate, suite = _ask_suite(bench, ledger, gate)
    if suite.holds is None:
        gate = replace(gate, verdict=Verdict.UNDECIDED, reasons=[suite.reason])
        return _find_fault(bench, gate, gate.suite_looks)
    if not suite.holds:
        return replace(gate, verdict=Verdict.REJECTED, reasons=[suite.reason])
    answer = ask(bench, gate)
    if answer.decision.verdict == Verdict.UNDECIDED:
        gate = _find_incumbents_fault(bench, gate, answer.looks)
        answer = ask(bench, gate) if gate.incumbent_fault else answer
    tries = Tries.of(answer.looks)
    reasons = [*answer.decision.reasons, suite.reason, _spent(answer), *_remarks(answer.looks, tries)]
    verdict = answer.decision.verdict
    gate = replace(gate, asked=True, answered=verdict, verdict=verdict, reasons=reasons, looks=answer.looks)
    if gate.incumbent_fault:
        lost = "infrastructure fails on the kept version alone, again and again: what it lost counts 0"
        gate = replace(gate, reasons=[*gate.reasons, lost])
    elif gate.verdict == Verdict.UNDECIDED:
        return _find_fault(bench, gate, answer.looks)
    if gate.verdict == Verdict.ACCEPTED and tries.are_the_candidates:
        return replace(gate, verdict=Verdict.REJECTED, reasons=[f"not accepted: {tries}", *reasons])
    return _accepted(bench, ledger, gate) if gate.verdict == Verdict.ACCEPTED else gate


def _find_incumbents_fault(bench: Bench, gate: Gate, looks: list[Look]) -> Gate:
    """Whether infrastructure fails on the incumbent alone: then no edit would ever be decided on."""
    lost = [look for look in looks if look.reward is None and not look.void]
    if not lost or any(look.side == Side.CANDIDATE for look in lost):
        return gate
    found = fault(bench, gate.agent, [bench.measure.trial(one.task_id, one.number, gate.incumbent) for one in lost])
    return replace(gate, fault_looks=found.looks, incumbent_fault=found.is_the_incumbents)


def _find_fault(bench: Bench, gate: Gate, looks: list[Look]) -> Gate:
    """An undecided gate, unless infrastructure fails on the candidate alone, again and again: then it is rejected.

    If it failed on the incumbent alone a moment ago, the row says that, and this gate stays undecided.
    """
    lost = [look for look in looks if look.reward is None and not look.void]
    if not lost or gate.incumbent_fault or any(look.side == Side.INCUMBENT for look in lost):
        return gate
    found = fault(bench, gate.incumbent, [bench.measure.trial(one.task_id, one.number, gate.agent) for one in lost])
    gate = replace(gate, fault_looks=found.looks)
    if not found.is_the_candidates:
        return gate
    return replace(gate, verdict=Verdict.REJECTED, reasons=[found.reason, *gate.reasons])


def _ask_suite(bench: Bench, ledger: Ledger, gate: Gate) -> tuple[Gate, SuiteVerdict]:
    """Before a veto the incumbent is run on the failed tasks: one that it fails too is no regression."""
    records = ledger.suite
    if not records:
        return gate, SuiteVerdict(True, "the regression suite is empty")
    # one trial of each, whatever `trials` is: the records count single ones
    trials = (
        bench.measure.trials(list(records), bench.agent)
        if bench.experiment.gate == RATCHET
        else [bench.measure.trial(task_id, 0, bench.agent) for task_id in records]
    )
    looks = looks_of(bench, _run(bench, trials).outcomes, gate.agent)
    results = settled_looks(looks, void=0.0)
    gate = replace(gate, suite=results, suite_looks=looks)
    if bench.experiment.gate == RATCHET:
        return gate, floor(results, bench.experiment.threshold)
    verdict = veto(results, records)
    if verdict.holds is not False:
        return gate, verdict
    checked = looks_of(bench, _check_incumbent(bench, ledger, gate).outcomes, gate.agent)
    checks = settled_looks(checked, void=0.0)
    gate = replace(gate, suite_checks=checks, suite_looks=[*looks, *checked])
    return gate, veto_after_checks(results, checks, records)


def _check_incumbent(bench: Bench, ledger: Ledger, gate: Gate) -> Run:
    """One more trial of the incumbent in each suite task that the candidate failed."""
    number = _check_number(ledger, gate)
    failed = [task_id for task_id, reward in gate.suite.items() if reward is not None and not passed(reward)]
    trials = [bench.measure.trial(task_id, number, gate.incumbent) for task_id in failed]
    return run_trials(bench, trials, COMMAND)


def _check_number(ledger: Ledger, gate: Gate) -> int:
    """A number that no other candidate's check had; the same candidate gets the same number again."""
    checks = [
        (one.agent, look.number) for one in ledger.gates for look in one.suite_looks if look.side == Side.INCUMBENT
    ]
    own = [number for agent, number in checks if agent == gate.agent]
    return own[0] if own else 1 + max([FIRST_TRIAL, *(number for _, number in checks)])


def _accepted(bench: Bench, ledger: Ledger, gate: Gate) -> Gate:
    """Its score, from trials that had no part in the verdict; and the train tasks that it fixed."""
    first = policy_of(gate).next_number
    scored = score(bench, first, gate.best_held_out)
    if scored.missing:
        why = f"{scored.missing} tasks of its score could not be evaluated; the same command runs those again"
        gate = replace(gate, verdict=Verdict.UNDECIDED, reasons=[why, *gate.reasons])
        return _find_fault(bench, gate, scored.looks)
    return replace(
        gate,
        first_trial=first,
        held_out=scored.rewards,
        score_looks=scored.looks,
        val_score=mean(scored.rewards.values()),
        promoted=_promotable(bench, ledger),
        promotion_trials=_promotion_trials(bench.experiment),
        train=bench.stored(bench.agent, bench.measure.train),
    )


def _promotion_trials(experiment: Experiment) -> int:
    return experiment.trials if experiment.gate == RATCHET else max(experiment.trials, PROMOTION_TRIALS)


def _promotable(bench: Bench, ledger: Ledger) -> list[str]:
    """Train tasks that the kept versions failed, and that the candidate passes in every one of several trials."""
    failed = [task_id for task_id, reward in _kept_results(bench, ledger).items() if not passed(reward)]
    promising = [task_id for task_id in failed if task_id not in ledger.suite]
    for number in range(_promotion_trials(bench.experiment)):
        run = _run(bench, [bench.measure.trial(task_id, number, bench.agent) for task_id in promising])
        promising = [task_id for task_id in promising if passed(run.settled[task_id])]
    return sorted(promising, key=natural_order)


def _kept_results(bench: Bench, ledger: Ledger) -> Rewards:
    """Each train task's reward in the newest kept version that was run on it."""
    train = bench.measure.train
    results: dict[str, float | None] = {}
    for version in ledger.versions:
        stored = bench.stored(version.row.agent, train)
        results |= {task_id: reward for task_id, reward in stored.items() if reward is not None}
    return results


def _run(bench: Bench, trials: list[Trial]) -> Run:
    run = run_trials(bench, trials, COMMAND)
    bench.export(run)
    return run


def _spent(answer: Answer) -> str:
    return f"{answer.simulations} simulations of both sides were looked at, {answer.new} were run for it"


def _remarks(looks: list[Look], tries: Tries) -> list[str]:
    """What a reader should know about both sides before trusting a verdict."""
    lines = [str(tries)] if tries.candidate or tries.incumbent else []
    ours, theirs = ([one for one in looks if one.side == side] for side in (Side.CANDIDATE, Side.INCUMBENT))
    if any(look.addressed for look in looks):
        counts = [f"{sum(look.addressed for look in some)} of {len(some)}" for some in (ours, theirs)]
        lines.append(
            f"warning: words meant for the user simulator or the judge, not for the customer, in {counts[0]} "
            f"simulations of the candidate, {counts[1]} of the kept version's"
        )
    return lines
