"""What running tasks costs beside waiting for the LLM, against `run_domain` of the installed tau2.

    python benchmarks/throughput.py --cpu                                 CPU seconds for each simulation, LLM at once
    python benchmarks/throughput.py --wall --domains retail --concurrency 64 --latency 1     beside waiting alone
    python benchmarks/throughput.py --memory 2000                         growth over many simulations
    python benchmarks/throughput.py --start                               from the command to the first LLM call
    python benchmarks/throughput.py --limit 8 --domains retail --concurrency 64      against a provider's rate limit
    python benchmarks/throughput.py --needs                               what 10, 1,000 and 100,000 an hour need
    python benchmarks/throughput.py --profile                             where the worker's time goes

Both sides ask the same local server, a process of its own that solves each task (tests/solver.py) and answers after
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

TAU2, OURS = "tau2", "auto-harness"
GOALS = {"airline": 10, "retail": 5, "telecom": 4}
GOAL_WALL = 1.25
_WARM_UP_SEED = 1
_MODEL = "openai/solver"

Json = dict[str, Any]


# --- the server, a process of its own --------------------------------------------------------------


class Server:
    """The scripted LLM. `cpu_s` and `calls`: its own so far."""

    def __init__(self, domain: str, latency_s: float, most: int = 10**6) -> None:
        """`most`: calls that it takes at once; it refuses the others."""
        command = [sys.executable, __file__, "serve", domain, str(latency_s), str(most)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = self._line()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def status(self) -> Json:
        """{"cpu_s", "calls", "refused"}, since the last time."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer: Json = json.loads(self._line())
        return answer

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


def serve(domain: str, latency_s: float, most: int) -> None:
    import threading

    from llm_server import Fault, LLMServer
    from solver import Solver

    from autoharness.tau import Tau2

    solver = Solver(Tau2()._tasks(domain).values())

    free, refused = threading.Semaphore(most), [0]

    def reply(request: Json) -> Any:
        if not free.acquire(blocking=False):
            refused[0] += 1
            return Fault(429, json.dumps({"error": {"message": "Rate limit reached: too many requests"}}))
        try:
            time.sleep(latency_s)
            return solver.reply(request)
        except Exception as error:
            return Fault(400, json.dumps({"error": {"message": repr(error)}}))
        finally:
            free.release()

    with LLMServer(reply, remember=False) as server:
        print(server.url, flush=True)
        cpu_s, calls = time.process_time(), server.asked
        for _ in sys.stdin:
            now_s, now = time.process_time(), server.asked
            print(json.dumps({"cpu_s": now_s - cpu_s, "calls": now - calls, "refused": refused[0]}), flush=True)
            cpu_s, calls, refused[0] = now_s, now, 0


# --- the two sides, each a process of its own ------------------------------------------------------


def tree_cpu_s() -> float:
    """Of this process and of all that it started, the ended ones too."""
    total = 0.0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
        except psutil.NoSuchProcess:
            continue
    return total


def tree_memory_mb() -> dict[str, float]:
    """Proportional set size of the processes that this one started, by what they are."""
    found: dict[str, float] = {}
    for process in psutil.Process().children(recursive=True):
        try:
            name = next((Path(part).stem for part in process.cmdline() if part.endswith(".py")), process.name())
            forked = name == "nursery" and process.ppid() != os.getpid()
            kind = "workers" if forked else {"host_child": "agent hosts"}.get(name, name)
            found[kind] = found.get(kind, 0) + process.memory_full_info().pss / 2**20
        except psutil.NoSuchProcess:
            continue
    return found


def run_tau2(settings: Json) -> Iterator[Json]:
    os.environ |= {"OPENAI_API_BASE": settings["url"], "OPENAI_API_KEY": "none"}
    from loguru import logger
    from tau2.data_model.simulation import RunConfig
    from tau2.run import run_domain

    for number, round in enumerate(rounds(settings)):
        with tempfile.TemporaryDirectory() as folder:
            config = RunConfig(
                domain=settings["domain"],
                agent="llm_agent",
                user="user_simulator",
                llm_agent=_MODEL,
                llm_user=_MODEL,
                llm_args_judge={},
                llm_args_agent={},
                llm_args_user={},
                task_split_name=settings["split"],
                task_ids=round["tasks"],
                max_steps=settings["max_steps"],
                max_concurrency=settings["concurrency"],
                results_dir=folder,
                save_to=f"throughput-{number}",
                seed=300,
                log_level="ERROR",
            )
            with measured(round) as figures:
                results = run_domain(config)
                logger.remove()
            figures["rewards"] = {one.task_id: one.reward_info.reward for one in results.simulations}
        yield figures


def run_ours(settings: Json) -> Iterator[Json]:
    os.environ |= {"OPENAI_API_BASE": settings["url"], "OPENAI_API_KEY": "none"}
    os.chdir(ROOT)
    from autoharness.config import from_settings
    from autoharness.runner import TauBenchRunner

    with tempfile.TemporaryDirectory() as vault:
        os.environ["AUTOHARNESS_VAULT"] = vault
        for seed, round in enumerate(rounds(settings), start=_WARM_UP_SEED):
            if seed == _WARM_UP_SEED:
                first = from_settings(experiment(settings, seed))
                workers = TauBenchRunner.of(first, ROOT / settings["agent"]).workers()
                executor = workers.__enter__()
            now = from_settings(experiment(settings, seed))
            with TauBenchRunner.of(now, ROOT / settings["agent"]).open(workers=executor) as bench:
                with measured(round) as figures:
                    run = bench.run(round["tasks"], "throughput", reveal=True)
                figures["rewards"] = run.rewards
                usage = [one for outcome in run.outcomes for one in outcome.usage.values()]
                figures["calls"] = sum(one.calls for one in usage)
                figures["longest"] = max(
                    (sum(one.calls for one in outcome.usage.values()) for outcome in run.outcomes), default=0
                )
            figures["memory_mb"] = tree_memory_mb()
            yield figures
        workers.__exit__(None, None, None)


def experiment(settings: Json, seed: int) -> Json:
    return {
        "domain": settings["domain"],
        "split": settings["split"],
        "agent_model": _MODEL,
        "user_model": _MODEL,
        "seed": seed,
        "max_steps": settings["max_steps"],
        "max_concurrency": settings["concurrency"],
        "trials": 1,
    }


def rounds(settings: Json) -> list[Json]:
    """The warm-up, and what is measured."""
    return [{"tasks": settings["tasks"][:2]}, *({"tasks": settings["tasks"]} for _ in range(settings["repeats"]))]


@contextmanager
def measured(round: Json) -> Iterator[Json]:
    figures: Json = {"simulations": len(round["tasks"])}
    cpu_s, clock = tree_cpu_s(), time.perf_counter()
    yield figures
    figures |= {"wall_s": time.perf_counter() - clock, "cpu_s": tree_cpu_s() - cpu_s}


SIDES = {TAU2: run_tau2, OURS: run_ours}


class Side:
    """One side in its process: a line of figures for each round that it is told to run."""

    def __init__(self, name: str, settings: Json) -> None:
        command = [sys.executable, __file__, "side", name, json.dumps(settings)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def round(self) -> Json:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):
                figures: Json = json.loads(line)
                return figures
        raise SystemExit(f"a side ended with {self._process.wait()}: run it by hand: {self._process.args}")

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def side(name: str, settings: Json) -> None:
    figures = SIDES[name](settings)
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # tau2 prints
    for _ in sys.stdin:
        print(json.dumps(next(figures)), file=results, flush=True)


# --- what is measured ------------------------------------------------------------------------------


def tasks_of(domain: str, split: str) -> list[str]:
    from autoharness.tau import Tau2

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
        config.write_text(f"domain: {domain}\nagent_model: {_MODEL}\nuser_model: {_MODEL}\nmax_concurrency: 3\n")
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

    from autoharness import providers
    from autoharness.config import Experiment
    from autoharness.host import AgentFile
    from autoharness.results import Trial
    from autoharness.tau import Tau2
    from autoharness.worker import Hosts, Simulator, confinement_of

    providers.LiteLLM.__call__ = lambda self, request: self._complete(request)  # type: ignore[method-assign]
    for domain in arguments.domains:
        with Server(domain, 0) as server, tempfile.TemporaryDirectory() as folder:
            os.environ |= {"OPENAI_API_BASE": server.url, "OPENAI_API_KEY": "none"}
            tau2, experiment = Tau2(), Experiment(domain=domain, agent_model=_MODEL)
            source = (ROOT / "agent" / "templates" / "tau_bench.py").read_text()
            confinement = confinement_of(experiment, Path(folder), tau2.folders)
            hosts = Hosts({"": AgentFile(source, _MODEL, None)}, 60, confinement)
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
    from autoharness import evaluator
    from autoharness.results import Outcome, Status, Trial
    from autoharness.store import Store

    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as vault:
        store, clock = Store(Path(vault)), time.perf_counter()
        for number, one in enumerate(simulations):
            trial = Trial(one["task_id"], number, 1)
            outcome = Outcome(trial, Status.PASSED, 1.0, messages=one["messages"], reward_info=one["reward_info"])
            came = Outcome.from_json(json.loads(json.dumps(outcome.to_json())))
            evaluator.manifest()
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
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
    elif sys.argv[1:2] == ["side"]:
        side(sys.argv[2], json.loads(sys.argv[3]))
    else:
        measure()


def measure() -> None:
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
