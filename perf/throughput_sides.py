"""The two sides of perf/throughput.py and the server that both ask, each a process of its own.

python perf/throughput_sides.py serve DOMAIN LATENCY_S MOST
python perf/throughput_sides.py side NAME SETTINGS
"""

import json
import os
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
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support")]

TAU2, OURS = "tau2", "auto-harness"
MODEL = "openai/solver"
_WARM_UP_SEED = 1

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

    from autoharness.benchmarks.tau2.adapter import Tau2

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
    """CPU seconds of this process and of all that it started, ended ones too."""
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
            forked = name == "forkserver" and process.ppid() != os.getpid()
            kind = "workers" if forked else {"child": "agent hosts"}.get(name, name)
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
                llm_agent=MODEL,
                llm_user=MODEL,
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
    from autoharness.core.setting_sources import from_settings
    from autoharness.engine.benchmark_runner import TauBenchRunner

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
        "agent_model": MODEL,
        "user_model": MODEL,
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


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
    else:
        side(sys.argv[2], json.loads(sys.argv[3]))
