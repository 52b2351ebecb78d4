"""What the offline model is worth as a stand-in: true and measured success rates of agent files, by domain.

    python perf/offline_model.py                    everything: about half an hour on two cores
    python perf/offline_model.py --seeds 2 --domains telecom

For each domain's test split and each agent file: the mean over ten root seeds and its spread from seed to seed. For
the template also what the per-task rates predict for both, and how many simulations ended as their draws say. For the
faultless clerk: how many of all train and test tasks score 1.0.
"""

import argparse
import math
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support")]

from harnesses import BAD, GOOD_CODE, GOOD_PROMPT, REFERENCE, TEMPLATE  # noqa: E402
from offline_rates import drawn_to_pass, pass_rate  # noqa: E402

from autoharness.benchmarks.tau2.adapter import Tau2  # noqa: E402
from autoharness.core.outcomes import Trial  # noqa: E402
from autoharness.core.settings import Experiment  # noqa: E402
from autoharness.engine.simulator import Simulator  # noqa: E402
from autoharness.host.pool import Hosts  # noqa: E402
from autoharness.host.process import AgentFile  # noqa: E402
from autoharness.host.starter import Confinement  # noqa: E402

AGENTS = {"template": TEMPLATE, "good prompt": GOOD_PROMPT, "good code": GOOD_CODE, "reference": REFERENCE, **BAD}
_MANY = 1000
Job = tuple[str, str, str, str, int]
"""domain, agent's name, model, task, root seed"""


@cache
def _tau2() -> Tau2:
    return Tau2()


@cache
def _simulator(domain: str, agent: str, model: str) -> Simulator:
    experiment = Experiment(domain=domain, agent_model=model)
    confinement = Confinement("process", Path(tempfile.gettempdir()))
    return Simulator(_tau2(), experiment, Hosts({"": AgentFile(AGENTS[agent], model, None)}, 60, confinement))


def _run(job: Job) -> float:
    domain, agent, model, task, root_seed = job
    outcome = _simulator(domain, agent, model).run(Trial(task, 0, _trial_seed(root_seed)), diagnose=False)
    if outcome.reward is None:
        raise RuntimeError(f"{job}: {outcome.status}: {outcome.detail}")
    return outcome.reward


def _trial_seed(root_seed: int) -> int:
    return random.Random(root_seed).randint(0, 1_000_000)


def _measure(pool: ProcessPoolExecutor, domain: str, agent: str, tasks: list[str], seeds: range) -> None:
    jobs = [(domain, agent, "offline/clerk", task, seed) for seed in seeds for task in tasks]
    rewards = list(pool.map(_run, jobs, chunksize=len(tasks)))
    means = [statistics.fmean(rewards[i : i + len(tasks)]) for i in range(0, len(rewards), len(tasks))]
    spread = statistics.stdev(means) if len(means) > 1 else math.nan
    line = f"{domain:8} {agent:38} mean {statistics.fmean(means):.3f}  spread {spread:.3f}"
    if agent == "template":
        line += _prediction(domain, tasks, jobs, rewards)
    print(line, flush=True)


def _prediction(domain: str, tasks: list[str], jobs: list[Job], rewards: list[float]) -> str:
    scripts = {task: _tau2().script(domain, task) for task in tasks}
    rates = [pass_rate(script) for script in scripts.values()]
    spread = math.sqrt(sum(rate * (1 - rate) for rate in rates)) / len(rates)
    drawn = [drawn_to_pass(scripts[task], _trial_seed(root_seed)) for _, _, _, task, root_seed in jobs]
    agree = sum(expected == (reward == 1) for expected, reward in zip(drawn, rewards, strict=True))
    many = [
        statistics.fmean(drawn_to_pass(script, _trial_seed(root_seed)) for script in scripts.values())
        for root_seed in range(_MANY)
    ]
    return (
        f"\n{'':11}predicted: mean {statistics.fmean(rates):.3f} spread {spread:.3f}"
        f"\n{'':11}as drawn: {agree} of {len(jobs)}"
        f"\n{'':11}draws of {_MANY} seeds: mean {statistics.fmean(many):.3f} spread {statistics.stdev(many):.3f}"
    )


def _faultless(pool: ProcessPoolExecutor, domain: str, tasks: Iterable[str]) -> None:
    jobs = [(domain, "template", "offline/faultless-clerk", task, 300) for task in tasks]
    rewards = list(pool.map(_run, jobs, chunksize=10))
    failed = [job[3] for job, reward in zip(jobs, rewards, strict=True) if reward < 1]
    print(
        f"{domain:8} mistakes switched off: {len(rewards) - len(failed)} of {len(rewards)} tasks score 1.0 {failed}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--domains", nargs="+", default=["airline", "retail", "telecom"])
    parser.add_argument("--agents", nargs="*", default=list(AGENTS))
    parser.add_argument("--seeds", type=int, default=10, help="how many root seeds, from 300 on")
    parser.add_argument("--faultless", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for domain in options.domains:
            splits = _tau2().facts(domain).splits
            for agent in options.agents:
                _measure(pool, domain, agent, splits["test"], range(300, 300 + options.seeds))
            if options.faultless:
                _faultless(pool, domain, [*splits["train"], *splits["test"]])


if __name__ == "__main__":
    main()
