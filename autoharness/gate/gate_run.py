"""One gate run: candidate against incumbent on held-out tasks, trial by trial, until the policy has seen enough."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from autoharness.core.errors import Interrupted
from autoharness.core.outcomes import Outcome, Rewards, Status, Trial, digest, is_addressed
from autoharness.core.settings import RATCHET, Experiment
from autoharness.core.stats import more_often
from autoharness.engine.score_identity import FIRST_BY_THE_CLOCK, FIRST_OF_GATE
from autoharness.engine.trial_runner import Bench, Enough, Run
from autoharness.gate.rule import Decision, Policy, Ratchet, Sequential
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import RULES, VOID, Gate, Look, Request, Side, Version, scored_looks

COMMAND = "gating.py"
FIRST_TRIAL = FIRST_OF_GATE
_TRIED_AGAIN = 3
_BY_CHANCE = 0.01


@dataclass(frozen=True)
class Answer:
    """The result of one gate run."""

    decision: Decision
    looks: list[Look]
    simulations: int
    """The simulations of both sides that the decision rests on."""
    new: int
    """Those of them that were run for this gate run."""


@dataclass(frozen=True)
class Score:
    """Trials of one version over the whole held-out split that had no part in promoting it."""

    rewards: Rewards
    looks: list[Look]
    missing: int
    """Tasks with a lost trial, which the same command would run again."""


def policy_of(gate: Gate) -> Policy:
    """The policy that decides, or decided, this gate; the evidence in its row does not matter."""
    settings = Experiment(**gate.experiment)
    if settings.gate == RATCHET:
        return Ratchet(gate.tasks, FIRST_TRIAL, settings.trials, gate.best_held_out, gate.rules)
    first = gate.incumbent_first_trial
    return Sequential(gate.tasks, first, settings.max_trials, gate.questions, gate.order, gate.bought, gate.rules)


def opened(bench: Bench, ledger: Ledger, incumbent: Version) -> Gate:
    """The gate's row, as far as it is known before anything is run."""
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
        rules=RULES,
    )
    same = ledger.same_question(gate)
    # the same gate run again has the same answer: repeating it cannot give another one
    return replace(gate, questions=same.questions, bought=same.bought) if same else gate


def run_trials(bench: Bench, trials: list[Trial], command: str, enough: Enough | None = None) -> Run:
    """See `Bench.run_trials`. Raises Interrupted after Ctrl-C: nothing is concluded from a part of a run."""
    run = bench.run_trials(trials, command, enough=enough)
    if run.interrupted:
        raise Interrupted
    return run


def ask(bench: Bench, gate: Gate) -> Answer:
    """Run the trials that the policy asks for, in its order, until it has seen enough.

    The policy takes the trials in that order alone, however they come in. Trials in flight beyond the last needed one
    are kept, and are no part of the answer. So the answer does not depend on which trial was faster, nor on whether a
    gate was killed and run again.
    """
    policy = policy_of(gate)
    requests = {_trial_of(bench, gate, request): request for request in policy.requests}
    trials, following = list(requests), policy.follow()

    def reward_of(outcome: Outcome) -> float | None:
        return VOID if is_void(outcome) else _counted(gate, outcome)

    def enough(known: Mapping[Trial, Outcome]) -> bool:
        while not following.decided and (outcome := known.get(trials[following.taken])):
            following.take(reward_of(outcome))
        return following.decided

    run = run_trials(bench, trials, COMMAND, enough)
    known = {outcome.trial: outcome for outcome in run.outcomes}
    enough(known)  # takes what has come since it was asked last
    looked_at = [known[trial] for trial in trials[: following.taken]]
    decision = policy.decide({requests[one.trial]: reward_of(one) for one in looked_at})
    assert decision
    looks = looks_of(bench, looked_at, gate.agent)
    return Answer(decision, looks, len(looked_at), run.new)


def _counted(gate: Gate, outcome: Outcome) -> float | None:
    is_its_fault = gate.incumbent_fault and outcome.trial.agent == gate.incumbent
    return VOID if outcome.reward is None and is_its_fault else outcome.reward


def score(bench: Bench, first_number: int, other: Rewards) -> Score:
    """The candidate's score: trials over the whole split, from this number on. `other`: the incumbent's rewards."""
    tasks = bench.measure.gate_tasks
    run = run_trials(bench, bench.measure.trials(tasks, bench.agent, first_number), COMMAND)
    looks = looks_of(bench, run.outcomes, bench.agent)
    return Score(scored_looks(looks, other), looks, unfinished(looks))


def unfinished(looks: Collection[Look]) -> int:
    """How many tasks have a trial that infrastructure lost. What tau2 could not score is not tried again."""
    return len({look.task_id for look in looks if look.reward is None and not look.void})


@dataclass(frozen=True)
class Fault:
    """Whose fault it is that trials of one side were lost."""

    looks: list[Look]
    """Those trials once more, and fresh ones of the other side beside them."""

    @property
    def is_the_candidates(self) -> bool:
        """The incumbent's trials went through at the same time, and the candidate's were lost again."""
        return self._is_of(Side.CANDIDATE)

    @property
    def is_the_incumbents(self) -> bool:
        """The other way round: it must not keep better edits out by losing the trials that it is about to fail."""
        return self._is_of(Side.INCUMBENT)

    def _is_of(self, side: Side) -> bool:
        lost = [look for look in self.looks if look.side == side]
        others = [look for look in self.looks if look.side != side]
        lost_again = bool(lost) and all(look.reward is None and not look.void for look in lost)
        lost_again = lost_again and all(look.number < FIRST_BY_THE_CLOCK for look in lost)  # else they are fresh ones
        return lost_again and bool(others) and all(look.reward is not None for look in others)

    @property
    def reason(self) -> str:
        count = sum(look.side == Side.CANDIDATE for look in self.looks)
        return (
            f"infrastructure fails on the candidate alone: {count} of its trials were lost, and lost again while the "
            "kept version's went through"
        )


def fault(bench: Bench, other: str, lost: Collection[Trial]) -> Fault:
    """Try a few of one side's lost trials again, with fresh ones of the other agent file in the same tasks.

    Without this, an edit that a provider rejects would make every command wait for an outage that does not exist.
    """
    some, fresh = list(lost)[:_TRIED_AGAIN], max(FIRST_BY_THE_CLOCK, int(time.time()))
    others = [bench.measure.trial(mine.task_id, fresh, other) for mine in some]
    while any(bench.store.find(bench.measure.key(one)) for one in others):  # the clock was set back
        fresh += 1
        others = [bench.measure.trial(mine.task_id, fresh, other) for mine in some]
    trials = [one for pair in zip(others, some, strict=True) for one in pair]
    return Fault(looks_of(bench, run_trials(bench, trials, COMMAND).outcomes, bench.agent))


def is_void(outcome: Outcome) -> bool:
    """Whether tau2 itself could not score it."""
    return outcome.status == Status.ENVIRONMENT_ERROR


def _trial_of(bench: Bench, gate: Gate, request: Request) -> Trial:
    agent = gate.agent if request.side == Side.CANDIDATE else gate.incumbent
    return bench.measure.trial(request.task_id, request.number, agent)


def looks_of(bench: Bench, outcomes: Collection[Outcome], candidate: str) -> list[Look]:
    """The evidence: what a row says of the trials it rests on."""
    looks = []
    for outcome in outcomes:
        trial = outcome.trial
        side = Side.CANDIDATE if trial.agent == candidate else Side.INCUMBENT
        key, sha256 = bench.store.fingerprint(bench.measure.key(trial)) if outcome.reward is not None else ("", "")
        look = Look(side, trial.task_id, trial.number, outcome.reward, key, sha256, is_void(outcome))
        looks.append(replace(look, tries=outcome.tries, addressed=is_addressed(outcome)))
    return looks


@dataclass(frozen=True)
class Tries:
    """How many simulations of each side had to be tried again."""

    candidate: int
    of_candidate: int
    incumbent: int
    of_incumbent: int

    @classmethod
    def of(cls, looks: Collection[Look]) -> "Tries":
        ours = [look.tries > 1 for look in looks if look.side == Side.CANDIDATE]
        theirs = [look.tries > 1 for look in looks if look.side == Side.INCUMBENT]
        return cls(sum(ours), len(ours), sum(theirs), len(theirs))

    @property
    def are_the_candidates(self) -> bool:
        """Clearly more of the candidate's: then it may have caused the failures itself, to be tried again."""
        sides = self.candidate, self.of_candidate, self.incumbent, self.of_incumbent
        return self.candidate > 0 and more_often(*sides) < _BY_CHANCE

    def __str__(self) -> str:
        theirs = f"{self.incumbent} of {self.of_incumbent} of the kept version's"
        return f"{self.candidate} of {self.of_candidate} simulations of the candidate were tried again, {theirs}"
