"""Honest agents lose nothing: the same rewards as on another tree, and the same ones where infrastructure fails.

    python tests/redteam/honest.py --before DIR    trial by trial against a clone of 9a969fe, on all three domains
    python tests/redteam/honest.py --faults        1,000 simulations with faults injected, against none

Faults: 429, 500, 503, an answer that hangs, one that is cut short (from a server on loopback), and SIGKILL from
outside to agent hosts and to workers. One of the agents is honest and never asks the same twice: it tells its LLM the
time; and the LLM never answers twice in the same words.
"""

import argparse
import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "support"), str(HERE.parents[1])]

from harnesses import REFERENCE, REFERENCE_STYLE  # noqa: E402
from llm_server import Fault, LLMServer  # noqa: E402
from solver import Solver  # noqa: E402

from redteam.nights import ROOT, Tree  # noqa: E402
from redteam.obedient import mock_tasks  # noqa: E402

Json = dict[str, Any]
Key = tuple[str, int]
"""A task and the number of a trial."""

TEMPLATE = (ROOT / "agent" / "templates" / "tau_bench.py").read_text()
WITH_TIME = TEMPLATE.replace("<instructions>", "It is {__import__('time').time()}.\\n<instructions>", 1)
HONEST = {"template": TEMPLATE, "reference style": REFERENCE_STYLE, "tells the time": WITH_TIME}
AGENTS = {"template": TEMPLATE, "reference": REFERENCE, "reference style": REFERENCE_STYLE}
FAULTY = 0.06
"""The share of requests that are answered with a fault."""
KILLED = {"host": 2.0, "worker": 11.0}
"""Seconds between two kills."""
DOMAINS = ("airline", "retail", "telecom")


def rewards(tree: Tree, agent: str, settings: Json, trials: list[list[Any]] | None = None, **job: Any) -> Json:
    """{"outcomes": [...], "killed": {...}}"""
    with tempfile.TemporaryDirectory(prefix="honest-job-") as folder:
        order = Path(folder) / "job.json"
        order.write_text(
            json.dumps({"root": str(tree.root), "agent": agent, "settings": settings, "trials": trials, **job})
        )
        command = [tree.python, str(HERE / "honest_rewards.py"), str(order)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=_environment())
    assert done.returncode == 0, done.stderr[-2000:]
    found: Json = json.loads(done.stdout.splitlines()[-1])
    return found


def _environment() -> Mapping[str, str]:
    return {**os.environ, "MODEL_SERVER_KEY": "a-key"}


def by_trial(found: Json) -> dict[Key, Json]:
    return {(one["task"], one["number"]): one for one in found["outcomes"]}


def voids(found: Json) -> int:
    """Trials that infrastructure kept from being evaluated: the same command runs those again."""
    return sum(one["reward"] is None for one in found["outcomes"])


def differing(one: Json, other: Json) -> list[str]:
    """A line for each trial whose rewards are not the same; a void is none."""
    ours, theirs = by_trial(one), by_trial(other)
    assert ours.keys() == theirs.keys()
    return [
        f"{key}: {ours[key]['reward']} ({ours[key]['status']}), {theirs[key]['reward']} ({theirs[key]['status']}: "
        f"{theirs[key]['detail'][:120]})"
        for key in ours
        if None not in (rewards := (ours[key]["reward"], theirs[key]["reward"])) and rewards[0] != rewards[1]
    ]


def compare_trees(now: Tree, before: Tree, trials: int) -> int:
    """How many rewards differ; the older tree runs the newer one's trials, seeds included."""
    total = 0
    for domain, (name, agent) in itertools.product(DOMAINS, AGENTS.items()):
        settings = {"domain": domain, "agent_model": "offline/clerk", "split": "base", "trials": trials}
        ours = rewards(now, agent, settings)
        seeds = [[one["task"], one["number"], one["seed"]] for one in ours["outcomes"]]
        theirs = rewards(before, agent, settings, seeds)
        lines = differing(ours, theirs)
        mean = sum(one["reward"] or 0.0 for one in ours["outcomes"]) / len(seeds)
        print(f"{domain:8} {name:16} {len(seeds)} trials, mean {mean:.4f}, {len(lines)} differ, {voids(ours)} void")
        print("".join(f"    {line}\n" for line in lines[:5]), end="")
        total += len(lines)
    return total


class Faulty:
    """Solves the mock domain's tasks, but for every second one, which it gets wrong. It breaks off now and then, and
    never says a thing twice in the same words."""

    FAULTS = (Fault(429), Fault(500), Fault(truncate=True), Fault(503), Fault(hang_s=4))

    def __init__(self, tasks: list[Any], share: float) -> None:
        """`share`: of the requests that are answered with a fault."""
        wrong = {task.id: 0 for task in tasks[::2] if task.evaluation_criteria and task.evaluation_criteria.actions}
        self._solver, self._share = Solver(tasks, wrong), share
        self._numbers, self._lock = itertools.count(), threading.Lock()
        self.given: Counter[str] = Counter()

    def __call__(self, request: Json) -> Json | Fault:
        with self._lock:
            number = next(self._numbers)
        draw = int.from_bytes(hashlib.sha256(str(number).encode()).digest()[:4], "big")
        if draw / 2**32 < self._share:
            fault = self.FAULTS[draw % len(self.FAULTS)]
            self.given["hang" if fault.hang_s else "cut short" if fault.truncate else str(fault.status)] += 1
            return fault
        answer = self._solver.reply(request)
        return {**answer, "content": f"{answer['content']} ({number})"} if answer.get("content") else answer


def inject(tree: Tree, simulations: int) -> int:
    """How many rewards differ from those without faults."""
    tasks, total = mock_tasks(), 0
    runs = [{}, KILLED]
    trials = max(1, simulations // len(tasks) // len(runs) // len(HONEST))
    for name, agent in HONEST.items():
        sound = _rewards_with(tree, agent, Faulty(tasks, 0.0), trials, {})
        for kill in runs:
            faulty, began = Faulty(tasks, FAULTY), time.monotonic()
            found = _rewards_with(tree, agent, faulty, trials, kill)
            lines = differing(sound, found)
            given = [f"{count} x {what}" for what, count in sorted(faulty.given.items())]
            given += [f"{count} {kind}s killed" for kind, count in found["killed"].items()]
            count, seconds = len(found["outcomes"]), time.monotonic() - began
            print(
                f"{name:16} {count} simulations, {', '.join(given)}: {len(lines)} rewards differ  ({seconds:.0f} s)"
            )
            print("".join(f"    {line}\n" for line in lines[:5]), end="", flush=True)
            total += len(lines)
    return total


def _rewards_with(tree: Tree, agent: str, faulty: Faulty, trials: int, kill: Mapping[str, float]) -> Json:
    with LLMServer(faulty, remember=False) as server:
        settings = {
            "domain": "mock",
            "split": "base",
            "agent_model": "faulty",
            "agent_url": server.url,
            "agent_api_key_name": "MODEL_SERVER_KEY",
            "trials": trials,
            "max_concurrency": 8,
            "llm_timeout_s": 3.0,
        }
        return rewards(tree, agent, settings, kill=dict(kill))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tree", type=Path, default=ROOT, help="the clone to measure; else this one")
    parser.add_argument("--before", type=Path, help="a clone of 9a969fe with a .venv of its own")
    parser.add_argument("--trials", type=int, default=2)
    parser.add_argument("--faults", action="store_true", help="inject faults")
    parser.add_argument("--simulations", type=int, default=1000)
    options = parser.parse_args()
    tree, differ = Tree(options.tree.resolve()), 0
    if options.before:
        differ += compare_trees(tree, Tree(options.before.resolve()), options.trials)
    if options.faults:
        differ += inject(tree, options.simulations)
    print(f"{differ} rewards differ in all")
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main())
