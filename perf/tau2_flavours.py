"""What the installed tau2 has: the figures of docs/tau2.md.

python perf/tau2_flavours.py                      its domains, splits, judged tasks and defaults
python perf/tau2_flavours.py --keep FILE          ... and keeps its tasks in a file
python perf/tau2_flavours.py --against FILE       ... and compares them with those of another tau2
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.core.errors import UserError
from autoharness.core.settings import ORACLE, SOLO, Experiment

Tasks = dict[str, dict[str, Any]]

_DEFAULTS = (
    *("DEFAULT_MAX_STEPS", "DEFAULT_MAX_ERRORS", "DEFAULT_SEED", "DEFAULT_LLM_AGENT", "DEFAULT_LLM_ARGS_AGENT"),
    *("DEFAULT_LLM_ARGS_USER", "DEFAULT_LLM_NL_ASSERTIONS", "DEFAULT_LLM_NL_ASSERTIONS_ARGS", "DEFAULT_MAX_RETRIES"),
)


def main(arguments: list[str]) -> None:
    tau2 = Tau2(Experiment(retrieval_config="no_knowledge"))
    for line in (*_of_tau2(tau2), *(line for domain in tau2.domains for line in _of_domain(tau2, domain))):
        print(line)
    tasks = {domain: {one["id"]: one for one in tau2.material(domain)["tasks"]} for domain in tau2.domains}
    if "--keep" in arguments:
        Path(arguments[-1]).write_text(json.dumps(tasks))
    if "--against" in arguments:
        others: dict[str, Tasks] = json.loads(Path(arguments[-1]).read_text())
        for domain in tasks.keys() & others.keys():
            print(f"{domain} differs in: {_differences(tasks[domain], others[domain])}")


def _of_tau2(tau2: Tau2) -> Iterator[str]:
    from tau2 import config
    from tau2.data_model.simulation import TerminationReason
    from tau2.evaluator.evaluator import EvaluationType

    facts, registry = tau2.facts("mock"), tau2._registry
    yield f"tau2: {facts.flavour} {facts.version}"
    yield f"agents: {', '.join(registry.get_agents())}"
    yield f"users: {', '.join(registry.get_users())}"
    yield f"task sets: {', '.join(registry.get_task_sets())}"
    yield f"evaluation types: {', '.join(one.value for one in EvaluationType)}"
    yield f"termination reasons: {', '.join(one.value for one in TerminationReason)}"
    yield from (f"{name}: {getattr(config, name)}" for name in _DEFAULTS)


def _of_domain(tau2: Tau2, domain: str) -> Iterator[str]:
    facts, tasks = tau2.facts(domain), tau2.material(domain)["tasks"]
    splits = ", ".join(f"{name} {len(ids)}" for name, ids in facts.splits.items())
    judged = sum("NL_ASSERTION" in (one["evaluation_criteria"] or {}).get("reward_basis", []) for one in tasks)
    alone, oracle = (_suitable(domain, agent) for agent in (SOLO, ORACLE))
    yield f"{domain}: {splits}; judged {judged}; {SOLO} {alone}; {ORACLE} {oracle}; data {facts.data_checksum[:12]}"


def _suitable(domain: str, agent: str) -> int:
    try:
        facts = Tau2(Experiment(domain=domain, agent=agent, retrieval_config="no_knowledge")).facts(domain)
    except UserError:
        return 0
    return len(set(facts.suitable or []) & set(facts.splits["base"]))


def _differences(tasks: Tasks, others: Tasks) -> str:
    both = sorted(tasks.keys() & others.keys())
    found = {
        "scenario": [one for one in both if tasks[one]["user_scenario"] != others[one]["user_scenario"]],
        "initial state": [one for one in both if tasks[one]["initial_state"] != others[one]["initial_state"]],
        "reference actions": [one for one in both if _of(tasks[one], "actions") != _of(others[one], "actions")],
        "reward basis": [one for one in both if _of(tasks[one], "reward_basis") != _of(others[one], "reward_basis")],
    }
    alone = len(tasks.keys() ^ others.keys())
    return ", ".join([*(f"{what} {len(ids)}" for what, ids in found.items()), f"only in one {alone}"])


def _of(task: dict[str, Any], what: str) -> Any:
    return (task["evaluation_criteria"] or {}).get(what)


if __name__ == "__main__":
    main(sys.argv[1:])
