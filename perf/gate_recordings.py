"""The default gate on real conversations, again and again in other orders: `python perf/gate_recordings.py`.

Three questions, each put 1,000 times (`--replications`); no LLM, a minute or two, fixed seeds:

  nothing changed   gpt-4o against itself: of four published trials of 50 airline tasks one is the candidate's, two
                    are the incumbent's. How often is it accepted?
  fine-tuned        gpt-4.1 fine-tuned, one published trial of each test task, against gpt-4.1 as it was. Of that one
                    only pass^1 to pass^4 are published: its tasks' rates are drawn from the Beta with the first two.
  another model     gpt-4.1 fine-tuned against gpt-oss-120b, one published trial each of the 20 airline test tasks.

Needs the recordings beside the checkout (`../shared/recordings`).
"""

import argparse
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from autoharness.gate.rule import Sequential
from autoharness.vault.ledger_rows import VOID, Request, Side, Verdict

RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "recordings"
PUBLISHED = {
    "airline": (0.560, 0.478, 0.424, 0.381),
    "retail": (0.740, 0.642, 0.581, 0.523),
    "telecom": (0.340, 0.276, 0.238, 0.204),
}
"""pass^1 to pass^4 of gpt-4.1-2025-04-14, four trials of all tasks, on tau2-bench's leaderboard since 2025-06-09
(sierra-research/tau2-bench, web/leaderboard/public/submissions/gpt-4-1_openai_2024-06-20/submission.json)."""

Rewards = dict[str, list[float]]
"""By task id: the trials' rewards."""


@dataclass
class Tally:
    """What the gate said, and after how many trials."""

    accepted: int = 0
    rejected: int = 0
    candidate_trials: int = 0
    incumbent_trials: int = 0

    def line(self, name: str) -> str:
        asked = self.accepted + self.rejected
        trials = f"{self.candidate_trials / asked:.0f} + {self.incumbent_trials / asked:.0f}"
        return f"{name:44} {self.accepted / asked:9.3f}  {trials:>10}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--replications", type=int, default=1000)
    replications = parser.parse_args().replications
    print(f"{'':44} {'accepted':>9}  {'trials':>10}   (candidate's + incumbent's, until the verdict)")
    print(put(nothing_changed, replications).line("nothing changed: gpt-4o, airline, 50 tasks"))
    for domain in PUBLISHED:
        candidate = _recorded(f"{domain}-test-ft-gpt-4.1")
        found = put(partial(fine_tuned, domain, candidate), replications)
        gain = 100 * (_mean(candidate) - PUBLISHED[domain][0])
        print(found.line(f"fine-tuned: {domain}, {len(candidate)} tasks, {gain:+.0f} points"))
    one, other = another_model(random.Random())
    gain = 100 * (_mean(one) - _mean(other))
    print(put(another_model, replications).line(f"another model: airline, {len(one)} tasks, {gain:+.0f} points"))
    for domain, published in PUBLISHED.items():
        powers = [f"pass^{k} {moment(domain, k):.3f} (published {published[k - 1]:.3f})" for k in (3, 4)]
        print(f"the Beta of {domain}: {', '.join(powers)}")


def put(make: Callable[[random.Random], tuple[Rewards, Rewards]], replications: int) -> Tally:
    """Put a question many times. `make` draws the candidate's and the incumbent's trials."""
    tally = Tally()
    for number in range(replications):
        candidate, incumbent = make(random.Random(number))
        ask(candidate, incumbent, str(number), tally)
    return tally


def ask(candidate: Rewards, incumbent: Rewards, order: str, tally: Tally) -> None:
    """One question, trial by trial, with the policy that ships. What was not recorded is in no mean."""
    policy = Sequential(list(candidate), 0, max(map(len, candidate.values())), 0, order)
    seen: dict[Request, float | None] = {}
    unrecorded = _unrecorded(policy, candidate, incumbent)
    for request in policy.requests:
        trials = (candidate if request.side == Side.CANDIDATE else incumbent)[request.task_id]
        if request.number >= len(trials):
            continue
        seen[request] = trials[request.number]
        decision = policy.decide(seen | unrecorded)
        if decision and decision.verdict != Verdict.UNDECIDED:
            tally.accepted += decision.verdict == Verdict.ACCEPTED
            tally.rejected += decision.verdict == Verdict.REJECTED
            break
    tally.candidate_trials += sum(request.side == Side.CANDIDATE for request in seen)
    tally.incumbent_trials += sum(request.side == Side.INCUMBENT for request in seen)


def _unrecorded(policy: Sequential, candidate: Rewards, incumbent: Rewards) -> dict[Request, float]:
    sides = {Side.CANDIDATE: candidate, Side.INCUMBENT: incumbent}
    return {one: VOID for one in policy.requests if one.number >= len(sides[one.side][one.task_id])}


def nothing_changed(generator: random.Random) -> tuple[Rewards, Rewards]:
    recorded = json.loads((RECORDINGS / "airline-gpt-4o-4trials.json").read_text())["rewards"]
    shuffled = {task_id: generator.sample(rewards, len(rewards)) for task_id, rewards in recorded.items()}
    first = {task_id: rewards[:1] for task_id, rewards in shuffled.items()}
    return first, {task_id: rewards[1:3] for task_id, rewards in shuffled.items()}


def fine_tuned(domain: str, candidate: Rewards, generator: random.Random) -> tuple[Rewards, Rewards]:
    passed, failed = beta(domain)
    rates = {task_id: generator.betavariate(passed, failed) for task_id in candidate}
    return candidate, {
        task_id: [float(generator.random() < rate) for _ in range(2)] for task_id, rate in rates.items()
    }


def beta(domain: str) -> tuple[float, float]:
    """The two parameters of the Beta whose first two moments are pass^1 and pass^2."""
    mean, square, *_ = PUBLISHED[domain]
    size = (mean - square) / (square - mean * mean)
    return mean * size, (1 - mean) * size


def moment(domain: str, k: int) -> float:
    """pass^k where the tasks' rates are that Beta's."""
    passed, failed = beta(domain)
    return prod((passed + i) / (passed + failed + i) for i in range(k))


def another_model(generator: random.Random) -> tuple[Rewards, Rewards]:
    candidate, other = _recorded("airline-test-ft-gpt-4.1"), _recorded("airline-base-gpt-oss-120b")
    return candidate, {task_id: other[task_id] for task_id in candidate}


def _mean(rewards: Rewards) -> float:
    return fmean(reward for trials in rewards.values() for reward in trials)


def _recorded(name: str) -> Rewards:
    simulations = json.loads((RECORDINGS / f"{name}.json").read_text())["simulations"]
    rewards: Rewards = {}
    for simulation in simulations:
        rewards.setdefault(simulation["task_id"], []).append(simulation["reward_info"]["reward"])
    return rewards


if __name__ == "__main__":
    main()
