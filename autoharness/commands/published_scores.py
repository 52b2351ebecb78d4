"""Why a score does not compare with published ones: those of taubench.com, the leaderboard of tau2-bench.

They are of the whole `base` split of tau2-bench 1.0.1, run with tau2's own limits, agents and user simulator. The
models are not compared: a leaderboard names them itself.
"""

from collections.abc import Collection, Iterator

from autoharness.core.outcomes import Outcome
from autoharness.core.settings import BANKING, ORACLE, OUTCOME, SETTINGS, SOLO, Experiment
from autoharness.engine.score_identity import Measure

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
_NOT_LOOKED_AT = frozenset(
    {
        *("benchmark", "domain", "agent", "retrieval_config"),  # other functions below check these
        *("agent_model", "user_model", "judge_model", "agent_url", "user_url", "judge_url", "reasoning_effort"),
        *("agent_llm_args", "seed", "seeds"),  # an agent's own; chance
        *("isolation", "fresh_host", "agent_base_url", "agent_memory_mb"),  # where the agent's code runs
        *("max_llm_calls", "agent_timeout_s", "llm_timeout_s"),  # limits that no correct run meets
    }
)
"""Settings that affect the outcome and need not be told here. All others, and those to come, are told if they are not
at their defaults, which are tau2's own."""


def reasons(measure: Measure, outcomes: Collection[Outcome], scored: Collection[Outcome]) -> list[str]:
    """One for each fact; empty if nothing speaks against a comparison. `outcomes`: of the run.

    `scored`: those that its mean is over. How others ended, or whether a judge was asked for them, is not told.
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
    for name, default in Experiment().to_json().items():
        value, says = getattr(experiment, name), SETTINGS[name]
        if says.affects is OUTCOME and name not in _NOT_LOOKED_AT and not says.counts_with and value != default:
            said = name if value is True else f"{name} {value}"
            yield said if not default else f"{said}, not {default}"
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
