"""One question to the holdout: candidate against incumbent, trial by trial, until the policy has seen enough."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import takewhile

from autoharness.bench import Bench, Enough, Run
from autoharness.config import RATCHET, Experiment
from autoharness.errors import Interrupted
from autoharness.ledger import Gate, Ledger, Look, Version
from autoharness.policy import VOID, Decision, Policy, Ratchet, Request, Seen, Sequential, Side
from autoharness.results import Outcome, Rewards, Status, Trial, digest, settled_rewards

COMMAND = "gating.py"
FIRST_TRIAL = 1000
"""The number of the baseline's first held-out trial. Trials of the gate have numbers that no run by hand reaches."""


@dataclass(frozen=True)
class Answer:
    """What came of one question."""

    decision: Decision
    looks: list[Look]
    simulations: int
    """That were looked at, of both sides."""
    new: int
    """Those among them that were run for this question."""
    repeated: int
    """Simulations that were run again after infrastructure had failed them."""


@dataclass(frozen=True)
class Score:
    """Trials of one version over the whole held-out split that had no part in promoting it."""

    rewards: Rewards
    looks: list[Look]
    missing: int
    """Tasks without a reward that the same command would run again."""


def policy_of(gate: Gate) -> Policy:
    """The policy that decides, or decided, this gate; its looks do not matter."""
    settings = Experiment(**gate.experiment)
    if settings.gate == RATCHET:
        return Ratchet(gate.tasks, FIRST_TRIAL, settings.trials, gate.best_held_out)
    first = gate.incumbent_first_trial
    return Sequential(gate.tasks, first, settings.max_trials, gate.questions, gate.order, gate.bought)


def opened(bench: Bench, ledger: Ledger, incumbent: Version) -> Gate:
    """The row of this gate as far as it is known before anything is run."""
    gate = Gate(
        measure=bench.measure.id,
        measured=bench.measure.words,
        agent=bench.agent,
        experiment=bench.experiment.to_json(),
        tasks=bench.measure.gate_tasks,
        simulated=bench.experiment.simulated,
        incumbent=incumbent.row.agent,
        incumbent_first_trial=incumbent.row.first_trial,
        questions=ledger.questions_about(incumbent.row.agent, bench.agent),
        order=digest([bench.store.secret(), bench.agent, incumbent.row.agent]),
        bought=ledger.bought(incumbent),
        best=incumbent.row.val_score,
        best_held_out=incumbent.row.held_out,
        asked=False,
    )
    same = ledger.same_question(gate)
    # asked again it has the same answer: nobody gets another one by asking once more
    return replace(gate, questions=same.questions, bought=same.bought) if same else gate


def run_trials(bench: Bench, trials: list[Trial], command: str, enough: Enough | None = None) -> Run:
    """See `Bench.run_trials`. Raises Interrupted after Ctrl-C: nothing is concluded from a part of a run."""
    run = bench.run_trials(trials, command, enough=enough)
    if run.interrupted:
        raise Interrupted
    return run


def ask(bench: Bench, gate: Gate) -> Answer:
    """Run what the policy asks for, in its order, until it has seen enough.

    It looks at the trials in that order alone, however they come in: what was in flight beyond the last one that was
    needed is kept, and is no part of the answer. So the answer does not depend on which trial was faster, nor on
    whether a gate was killed and asked again.
    """
    policy = policy_of(gate)
    requests = {trial_of(bench, gate, request): request for request in policy.requests}

    def seen(outcomes: Collection[Outcome]) -> Seen:
        return {requests[one.trial]: VOID if is_void(one) else one.reward for one in outcomes}

    def in_order(outcomes: Collection[Outcome]) -> list[Outcome]:
        finished = {outcome.trial: outcome for outcome in outcomes}
        return [finished[trial] for trial in takewhile(finished.__contains__, requests)]

    def decides(outcomes: Collection[Outcome]) -> bool:
        return policy.decide(seen(outcomes)) is not None

    run = run_trials(bench, list(requests), COMMAND, lambda outcomes: decides(in_order(outcomes)))
    outcomes = in_order(run.outcomes)
    needed = next(count for count in range(len(outcomes) + 1) if decides(outcomes[:count]))
    looked_at = outcomes[:needed]
    decision = policy.decide(seen(looked_at))
    assert decision
    looks = looks_of(bench, looked_at, gate.agent)
    repeated = sum(note.startswith("attempt ") for outcome in run.outcomes for note in outcome.notes)
    return Answer(decision, looks, len(looked_at), run.new, repeated)


def score(bench: Bench, first_number: int) -> Score:
    """The candidate's score: trials over the whole split, from this number on."""
    tasks = bench.measure.gate_tasks
    run = run_trials(bench, bench.measure.trials(tasks, bench.agent, first_number), COMMAND)
    return Score(settled_rewards(run.outcomes), looks_of(bench, run.outcomes, bench.agent), unfinished(run, tasks))


def unfinished(run: Run, held_out: list[str]) -> int:
    """Held-out tasks without a reward. Where tau2 itself cannot evaluate a task, it leaves every comparison."""
    beyond_us = {outcome.trial.task_id for outcome in run.outcomes if is_void(outcome)}
    rewards = run.settled
    return sum(rewards[task_id] is None and task_id not in beyond_us for task_id in held_out)


def is_void(outcome: Outcome) -> bool:
    """Whether tau2 itself cannot evaluate the task."""
    return outcome.status == Status.ENVIRONMENT_ERROR


def trial_of(bench: Bench, gate: Gate, request: Request) -> Trial:
    agent = gate.agent if request.side == Side.CANDIDATE else gate.incumbent
    return bench.measure.trial(request.task_id, request.number, agent)


def looks_of(bench: Bench, outcomes: Collection[Outcome], candidate: str) -> list[Look]:
    """What a row says of the trials it rests on."""
    looks = []
    for outcome in outcomes:
        trial = outcome.trial
        side = Side.CANDIDATE if trial.agent == candidate else Side.INCUMBENT
        key, sha256 = bench.store.fingerprint(bench.measure.key(trial)) if outcome.reward is not None else ("", "")
        looks.append(Look(side, trial.task_id, trial.number, outcome.reward, key, sha256, is_void(outcome)))
    return looks
