"""Why a mean does not compare with published ones: those of taubench.com, the leaderboard of tau2-bench.

They are of the whole `base` split of tau2-bench 1.0.1, run with tau2's own limits, agents and user simulator. What is
not looked at: the models, which a leaderboard names itself.
"""

from collections.abc import Collection, Iterator

from autoharness.config import BANKING, ORACLE, SOLO, Experiment
from autoharness.measure import Measure
from autoharness.results import Outcome

PUBLISHED = "tau2-bench 1.0.1"
DATA = {
    "airline": "c0696b3e2fd0",
    "retail": "394aaa46f06a",
    "telecom": "ded669281e86",
    "banking_knowledge": "058acb737bdc",
}
"""For each published domain how the checksum of its data begins in that version."""
TAU2S_JUDGE = "gpt-4.1-2025-04-14"
TAU2S_RETRIEVAL = "alltools"
TAU2S = {"max_steps": 200, "max_errors": 10, "user_llm_args": {"temperature": 0.0}}
"""Settings with tau2's own defaults."""
_ONLY_OURS = ("user", "timeout_s", "max_simulation_cost_usd", "max_simulation_tokens", "judge_llm_args")
"""Settings that change a score, and that a published run does not have."""


def reasons(measure: Measure, outcomes: Collection[Outcome], scored: Collection[Outcome]) -> list[str]:
    """One for each fact; empty where nothing speaks against a comparison. `outcomes`: of the run.

    `scored`: those that its mean is over. How others ended, whether a judge was asked for them, is not told.
    """
    experiment = measure.experiment
    if not experiment.on_tau2:
        return []
    return [
        *_of_tasks(measure, outcomes),
        *_of_settings(experiment),
        *_of_data(measure),
        *_of_run(experiment, scored),
    ]


def _of_tasks(measure: Measure, outcomes: Collection[Outcome]) -> Iterator[str]:
    ran, base = {outcome.trial.task_id for outcome in outcomes}, set(measure.splits["base"])
    if ran == base:
        return
    split = next((name for name, ids in measure.splits.items() if set(ids) == ran), None)
    yield f"split {split}, not base" if split else f"{len(ran & base)} of the {len(base)} tasks of base"


def _of_settings(experiment: Experiment) -> Iterator[str]:
    if experiment.simulated:
        yield "the models are simulated"
    if experiment.agent in (SOLO, ORACLE):
        yield f"agent {experiment.agent}"
    for name, default in TAU2S.items():
        if getattr(experiment, name) != default:
            yield f"{name} {getattr(experiment, name)}, not {default}"
    for name in _ONLY_OURS:
        if getattr(experiment, name) is not None:
            yield f"{name} {getattr(experiment, name)}"
    if experiment.replay_tolerance:
        yield "replay_tolerance"
    if experiment.domain == BANKING:
        yield f"retrieval_config {experiment.retrieval_config}, not {TAU2S_RETRIEVAL}"


def _of_data(measure: Measure) -> Iterator[str]:
    domain = measure.experiment.domain
    if domain not in DATA:
        yield f"domain {domain}, which the leaderboard does not have"
    if measure.installed != PUBLISHED:
        yield f"{measure.installed}, not {PUBLISHED}"
    elif not measure.benchmark["data_checksum"].startswith(DATA.get(domain, "")):
        yield f"other data than that of {PUBLISHED}"


def _of_run(experiment: Experiment, outcomes: Collection[Outcome]) -> Iterator[str]:
    lost = sum(outcome.reward is None for outcome in outcomes)
    if lost:
        yield f"{lost} simulations without a reward: the score is the mean of the others"
    judge, judged = experiment.model_of("judge"), any("judge" in outcome.usage for outcome in outcomes)
    if judged and judge.rpartition("/")[2] != TAU2S_JUDGE:
        yield f"judge {judge}, not {TAU2S_JUDGE}"
