"""What running tasks costs beside waiting for the LLM, against `run_domain` of the installed tau2.

    python perf/throughput.py --cpu                                 CPU seconds for each simulation, LLM at once
    python perf/throughput.py --wall --domains retail --concurrency 64 --latency 1     beside waiting alone
    python perf/throughput.py --memory 2000                         growth over many simulations
    python perf/throughput.py --start                               from the command to the first LLM call
    python perf/throughput.py --limit 8 --domains retail --concurrency 64      against a provider's rate limit
    python perf/throughput.py --needs                               what 10, 1,000 and 100,000 an hour need
    python perf/throughput.py --profile                             where the worker's time goes

Both sides ask the same local server, a process of its own that solves each task and answers after
the latency. tau2 runs its own `llm_agent`, ours the template, through host and gateway. CPU is that of all processes
of a side, without imports: each side has run a task before the clock starts. Its own figure stands beside the
server's. Medians over repeats, the sides taking turns.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from throughput_sides import MODEL, OURS, ROOT, SIDES, TAU2, Server, Side

GOALS = {"airline": 10, "retail": 5, "telecom": 4}

Json = dict[str, Any]


def tasks_of(domain: str, split: str) -> list[str]:
    from autoharness.benchmarks.tau2.adapter import Tau2

    return list(Tau2().facts(domain).splits[split])


def cpu(arguments: argparse.Namespace) -> None:
    print("domain   simulations  tau2 CPU s  ours CPU s  ratio  goal   server CPU s  rewards")
    for domain in arguments.domains:
        split = arguments.split or "test"
        tasks = tasks_of(domain, split)[: arguments.tasks]
        found: dict[str, list[Json]] = {TAU2: [], OURS: []}
        with Server(domain, 0) as server:
            settings = settings_of(arguments, domain, split, tasks, server.url)
            sides = {name: Side(name, settings) for name in SIDES}
            for one in sides.values():
                one.round()
            server.status()
            served = []
            for _ in range(arguments.repeats):
                for name, one in sides.items():
                    found[name].append(one.round())
                    served.append(server.status()["cpu_s"])
            for one in sides.values():
                one.end()
        each = {name: statistics.median(one["cpu_s"] for one in some) / len(tasks) for name, some in found.items()}
        ratio = each[TAU2] / each[OURS]
        same = "identical" if rewards(found[TAU2]) == rewards(found[OURS]) else "DIFFER"
        print(
            f"{domain:8} {len(tasks):11}  {each[TAU2]:10.3f}  {each[OURS]:10.3f}  {ratio:5.1f}  "
            f"{GOALS[domain]:4}x  {statistics.median(served) / len(tasks):12.3f}  {same}",
            flush=True,
        )


def rewards(some: list[Json]) -> list[Json]:
    return [one["rewards"] for one in some]


def wall(arguments: argparse.Namespace) -> None:
    split = arguments.split or "base"
    sides = [OURS, *(one for one in arguments.sides if one != OURS)]  # ours says what the ideal is
    print("domain   concurrency  latency s  ideal s  " + "  ".join(f"{name:>12} s  ratio" for name in sides))
    for domain in arguments.domains:
        tasks = tasks_of(domain, split)[: arguments.tasks]
        with Server(domain, arguments.latency) as server:
            for concurrency in arguments.concurrency:
                settings = settings_of(arguments, domain, split, tasks, server.url) | {"concurrency": concurrency}
                ideal_s, cells = 0.0, []
                for name in sides:
                    one = Side(name, settings)
                    one.round()
                    found = [one.round() for _ in range(arguments.repeats)]
                    one.end()
                    if name == OURS:
                        waiting_s, longest_s = (found[0][key] * arguments.latency for key in ("calls", "longest"))
                        ideal_s = max(longest_s, waiting_s / concurrency)
                    wall_s = statistics.median(figures["wall_s"] for figures in found)
                    cells.append(f"{wall_s:14.1f}  {wall_s / ideal_s:5.2f}")
                print(
                    f"{domain:8} {concurrency:11}  {arguments.latency:9g}  {ideal_s:7.1f}  {'  '.join(cells)}",
                    flush=True,
                )


def memory(arguments: argparse.Namespace) -> None:
    domain, split = arguments.domains[0], arguments.split or "base"
    tasks = tasks_of(domain, split)
    repeats = math.ceil(arguments.memory / len(tasks))
    with Server(domain, 0) as server:
        settings = settings_of(arguments, domain, split, tasks, server.url) | {"repeats": repeats}
        ours = Side(OURS, settings)
        for number in range(repeats + 1):
            figures = ours.round()
            total = sum(figures["memory_mb"].values())
            each = ", ".join(f"{name} {mb:.0f}" for name, mb in figures["memory_mb"].items())
            print(f"{number * len(tasks):5} simulations: {total:.0f} MB ({each})", flush=True)
        ours.end()


def start(arguments: argparse.Namespace) -> None:
    """From `python benchmark.py --task-ids 0` to the first LLM call, against the two imports alone."""
    domain = arguments.domains[0]
    imports = "import litellm; from tau2.registry import registry"
    own = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    found: dict[str, list[float]] = {"imports": [], "first call": []}
    with Server(domain, 0) as server, tempfile.TemporaryDirectory() as vault:
        server.status()
        own |= {"OPENAI_API_BASE": server.url, "OPENAI_API_KEY": "none", "AUTOHARNESS_VAULT": vault}
        config = Path(vault) / "experiment.yaml"
        config.write_text(f"domain: {domain}\nagent_model: {MODEL}\nuser_model: {MODEL}\nmax_concurrency: 3\n")
        command = [sys.executable, "benchmark.py", "--config", str(config), "--task-ids"]
        for number, task in enumerate(tasks_of(domain, "train")[: arguments.repeats + 1]):
            clock = time.perf_counter()
            subprocess.run([sys.executable, "-c", imports], env=own, check=True, capture_output=True)
            imports_s = time.perf_counter() - clock
            clock = time.perf_counter()
            process = subprocess.Popen(
                [*command, task], cwd=ROOT, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            while not server.status()["calls"]:
                time.sleep(0.01)
            first_s = time.perf_counter() - clock
            process.wait()
            server.status()
            if number:  # the first one warms the disk's cache
                found["imports"].append(imports_s)
                found["first call"].append(first_s)
    median = {name: statistics.median(some) for name, some in found.items()}
    print(f"imports of litellm and tau2 alone: {median['imports']:.2f} s")
    print(f"to the first LLM call: {median['first call']:.2f} s")
    print(f"ratio: {median['first call'] / median['imports']:.2f}")


def limit(arguments: argparse.Namespace) -> None:
    """Against a provider that takes so many calls at once, and says to the others that there are too many."""
    domain, split = arguments.domains[0], arguments.split or "base"
    tasks = tasks_of(domain, split)[: arguments.tasks]
    print("side          wall s  waiting alone s  calls  refused  rewards")
    for name in [OURS, *(one for one in arguments.sides if one != OURS)]:
        with Server(domain, arguments.latency, arguments.limit) as server:
            one = Side(name, settings_of(arguments, domain, split, tasks, server.url))
            try:
                one.round()
                server.status()
                found = one.round()
            except SystemExit:
                print(f"{name:12}  its run ends with an error", flush=True)
                continue
            one.end()
            served = server.status()
        answered = served["calls"] - served["refused"]
        passed = sum(reward == 1 for reward in found["rewards"].values())
        print(
            f"{name:12}  {found['wall_s']:6.1f}  {answered * arguments.latency / arguments.limit:15.1f}  "
            f"{answered:5}  {served['refused']:7}  {passed} of {len(tasks)} solved",
            flush=True,
        )


def needs(arguments: argparse.Namespace) -> None:
    """From what real conversations took (gpt-4.1, the published recordings), and from our CPU for each LLM call."""
    print("domain   simulations/h  conversations  LLM calls/min  tokens/min  cores")
    for domain in arguments.domains:
        file = ROOT.parent / "shared" / "recordings" / f"{domain}-test-ft-gpt-4.1.json"
        simulations = json.loads(file.read_text())["simulations"]
        usage = [
            message["usage"] for one in simulations for message in one["messages"] if message.get("usage") is not None
        ]
        calls = len(usage) / len(simulations)
        tokens = sum(one["prompt_tokens"] + one["completion_tokens"] for one in usage) / len(simulations)
        duration_s = statistics.fmean(one["duration"] for one in simulations)
        tasks = tasks_of(domain, "test")[:20]
        with Server(domain, 0) as server:
            side = Side(OURS, settings_of(arguments, domain, "test", tasks, server.url))
            side.round()
            measured = [side.round() for _ in range(arguments.repeats)]
            side.end()
        cpu_s = statistics.median(one["cpu_s"] / one["calls"] for one in measured)
        for rate in (10, 1000, 100_000):
            print(
                f"{domain:8} {rate:13,}  {rate * duration_s / 3600:13,.1f}  {rate * calls / 60:13,.0f}  "
                f"{rate * tokens / 60:10,.0f}  {rate * calls * cpu_s / 3600:5.2f}",
                flush=True,
            )
        print(
            f"         one simulation: {calls:.1f} LLM calls, {tokens:,.0f} tokens, {duration_s:.0f} s; "
            f"CPU {1000 * cpu_s:.1f} ms a call",
            flush=True,
        )
        print(f"         the door stores {door_rate(simulations):.0f} such outcomes a second", flush=True)


PARTS = {
    "waiting for the server and the host": ("method 'acquire'", "method 'recv'", "method 'poll'", "select."),
    "LLM client: litellm, openai": ("litellm", "openai/"),
    "LLM client: httpx and what is under it": (
        "httpx",
        "httpcore",
        "h11",
        "method 'send",
        "method 'close'",
    ),
    "JSON": ("/json/", "_json"),
    "SHA-256, of databases and of requests": ("_hashlib",),
    "copies of records and messages": ("copy.py", "_pickle"),
    "pydantic: messages, dumps": ("pydantic",),
    "tau2": ("/tau2/",),
    "auto-harness": ("/autoharness/",),
}


def profile(arguments: argparse.Namespace) -> None:
    """Where the worker's time goes, in this process, one simulation after the other; LLM calls on the same thread."""
    import cProfile
    import pstats

    from autoharness.benchmarks.tau2.adapter import Tau2
    from autoharness.core.outcomes import Trial
    from autoharness.core.settings import Experiment
    from autoharness.engine.simulator import Simulator
    from autoharness.host.pool import Hosts, confinement_of
    from autoharness.host.process import AgentFile
    from autoharness.llm import providers

    providers.LiteLLM.__call__ = lambda self, request: self._complete(request)  # type: ignore[method-assign]
    for domain in arguments.domains:
        with Server(domain, 0) as server, tempfile.TemporaryDirectory() as folder:
            os.environ |= {"OPENAI_API_BASE": server.url, "OPENAI_API_KEY": "none"}
            tau2, experiment = Tau2(), Experiment(domain=domain, agent_model=MODEL)
            source = (ROOT / "agent" / "templates" / "tau_bench.py").read_text()
            confinement = confinement_of(experiment, Path(folder), tau2.folders)
            hosts = Hosts({"": AgentFile(source, MODEL, None)}, 60, confinement)
            simulator, tasks = Simulator(tau2, experiment, hosts), tasks_of(domain, "test")
            for task in tasks:
                simulator.run(Trial(task, 0, 1), diagnose=False)
            profiler = cProfile.Profile()
            profiler.enable()
            for task in tasks:
                simulator.run(Trial(task, 0, 2), diagnose=False)
            profiler.disable()
            hosts.close()
        spent: dict[str, float] = dict.fromkeys([*PARTS, "other"], 0.0)
        for (file, _, function), (_, _, own_s, _, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
            name = function if file == "~" else f"{file} {function}"
            part = next((part for part, words in PARTS.items() if any(word in name for word in words)), "other")
            spent[part] += own_s
        waited_s = spent.pop("waiting for the server and the host")
        busy_s = sum(spent.values())
        print(
            f"{domain}: busy {1000 * busy_s / len(tasks):.0f} ms a simulation (profiled), and waited {waited_s:.1f} s"
        )
        for part, own_s in sorted(spent.items(), key=lambda one: -one[1]):
            print(f"  {100 * own_s / busy_s:5.1f} %  {part}")


def door_rate(simulations: list[Json]) -> float:
    """Outcomes that one door process reads, checks its evaluator for, and stores, in a second."""
    from autoharness.core.outcomes import Outcome, Status, Trial
    from autoharness.vault import code_digest
    from autoharness.vault.store import Store

    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as vault:
        store, clock = Store(Path(vault)), time.perf_counter()
        for number, one in enumerate(simulations):
            trial = Trial(one["task_id"], number, 1)
            outcome = Outcome(trial, Status.PASSED, 1.0, messages=one["messages"], reward_info=one["reward_info"])
            came = Outcome.from_json(json.loads(json.dumps(outcome.to_json())))
            code_digest.manifest()
            store.keep({"trial": number}, came)
        return len(simulations) / (time.perf_counter() - clock)


def settings_of(arguments: argparse.Namespace, domain: str, split: str, tasks: list[str], url: str) -> Json:
    return {
        "domain": domain,
        "split": split,
        "tasks": tasks,
        "url": url,
        "repeats": arguments.repeats,
        "concurrency": arguments.concurrency[0],
        "max_steps": 200,
        "agent": "agent/templates/tau_bench.py",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--wall", action="store_true")
    parser.add_argument("--memory", type=int, metavar="SIMULATIONS", default=0)
    parser.add_argument("--start", action="store_true")
    parser.add_argument("--limit", type=int, metavar="CALLS", default=0)
    parser.add_argument("--needs", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--domains", nargs="+", default=list(GOALS))
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--split")
    parser.add_argument("--tasks", type=int, help="only so many of them")
    parser.add_argument("--concurrency", nargs="+", type=int, default=[4])
    parser.add_argument("--latency", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    for figure in (cpu, wall, memory, start, limit, needs, profile):
        if getattr(arguments, figure.__name__):
            figure(arguments)


if __name__ == "__main__":
    main()
