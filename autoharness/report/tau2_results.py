"""Writes tau2's own results file for one version of the agent: `tau2 view` reads it and `tau2 submit` checks it.

Each task has as many trials as the experiment asks for, otherwise tau2 would not take the file: the first ones by
number; of a held-out task the first ones of the version's score, which had no part in promoting it.

A trial that broke off through the agent's own fault (`agent_error`, `timed_out`) was never evaluated by tau2. It
is written as tau2 ends one: terminated by `agent_error`, reward 0; its reward_info has what auto-harness knows.
"""

import json
import tempfile
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from autoharness.core.errors import UserError
from autoharness.core.outcomes import Outcome, Status, Usage, by_task, known_cost
from autoharness.core.settings import Experiment
from autoharness.engine.workers import Workers
from autoharness.report.visible_trials import Kept
from autoharness.vault.ledger_rows import Version
from autoharness.vault.store import now

_AGENT_ERROR = "agent_error"
_UNKNOWN_COMMIT = "unknown"

Json = dict[str, Any]


def chosen(version: Version, trials: Iterable[Kept]) -> list[Kept]:
    """Those of the version's trials that the file holds."""
    row, found = version.row, []
    for task_id, some in by_task((kept.outcome.trial.task_id, kept) for kept in trials).items():
        first = row.first_trial if task_id in row.held_out else 0
        counted = [kept for kept in some if kept.outcome.trial.number >= first]
        found += sorted(counted, key=lambda kept: kept.outcome.trial.number)[: row.experiment["trials"]]
    return found


def results_of(version: Version, trials: list[Kept]) -> Json:
    """tau2's `Results` as JSON. Raises UserError if the trials are of another tau2 than the installed one."""
    experiment = Experiment(**version.row.experiment)
    published = _published(experiment, trials)
    return {
        "timestamp": now(),
        "info": _info(version, experiment, published),
        "tasks": published["tasks"],
        "simulations": [_simulation(kept, kept.read()) for kept in trials],
    }


def _published(experiment: Experiment, trials: list[Kept]) -> Json:
    """What tau2 itself says of the tasks and of the domain."""
    if not experiment.on_tau2:
        raise UserError(f"--export tau2: such a file holds tau2's own tasks; {experiment.benchmark} has others")
    task_ids = list(dict.fromkeys(kept.outcome.trial.task_id for kept in trials))
    made_with = json.loads(trials[0].path.read_text(encoding="utf-8"))["key"]["tau2"]
    with tempfile.TemporaryDirectory() as logs, Workers(experiment, Path(logs)) as workers:
        facts = workers.facts(experiment.domain)
        installed = {name: facts[name] for name in made_with}
        if installed != made_with:
            raise UserError(
                f"the trials were made with {_in_words(made_with)}, and {_in_words(installed)} is installed: "
                "export where that one is"
            )
        return workers.published(experiment.domain, task_ids)


def _in_words(tau2: Json) -> str:
    return f"{tau2['flavour']} {tau2['version']} (data {tau2['data_checksum'][:12]})"


def _info(version: Version, experiment: Experiment, published: Json) -> Json:
    effort = {"reasoning_effort": experiment.reasoning_effort} if experiment.reasoning_effort else {}
    return {
        "git_commit": version.commit or _UNKNOWN_COMMIT,
        "num_trials": experiment.trials,
        "max_steps": experiment.max_steps,
        "max_errors": experiment.max_errors,
        "seed": experiment.seed,
        "agent_info": {
            "implementation": published["agent"],
            "llm": experiment.model_of("agent"),
            "llm_args": experiment.agent_llm_args | effort,
        },
        "user_info": {
            "implementation": published["user"],
            "llm": experiment.model_of("user"),
            "llm_args": experiment.user_llm_args,
            "global_simulation_guidelines": published["guidelines"],
        },
        "environment_info": published["environment"],
    }


def _simulation(kept: Kept, outcome: Outcome) -> Json:
    trial, started = outcome.trial, datetime.fromisoformat(outcome.started)
    return {
        "id": kept.name,
        "task_id": trial.task_id,
        "trial": trial.number,
        "seed": trial.seed,
        "timestamp": outcome.started,
        "start_time": outcome.started,
        "end_time": (started + timedelta(seconds=outcome.duration_s)).isoformat(),
        "duration": outcome.duration_s,
        "termination_reason": _AGENT_ERROR if _broke_off(outcome) else outcome.termination,
        "agent_cost": known_cost([outcome.usage.get("agent", Usage())]),
        "user_cost": known_cost([outcome.usage.get("user", Usage())]),
        "reward_info": _broken_off(outcome) if _broke_off(outcome) else outcome.reward_info,
        "messages": outcome.messages,
    }


def _broke_off(outcome: Outcome) -> bool:
    return outcome.status in (Status.AGENT_ERROR, Status.TIMED_OUT)


def _broken_off(outcome: Outcome) -> Json:
    """What tau2's own evaluator says of a conversation that ended so, and what auto-harness knows besides."""
    note = f"Simulation terminated prematurely. Termination reason: {_AGENT_ERROR}"
    ours = {"status": outcome.status, "detail": outcome.detail}
    return {"reward": 0.0, "reward_basis": None, "info": {"note": note, "auto_harness": ours}}
