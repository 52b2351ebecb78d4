"""What it costs to run the agent's code in a process of its own, confined, with its LLM behind a gateway.

    python perf/isolation.py            about a minute

First start: from nothing to the agent's first reply, with the process that starts hosts, once for each worker;
against a bare Python that starts and ends. Start: the same once that process is there, as for each simulation. Turn:
one turn of the template in an airline conversation of forty messages, its LLM's answer at hand, against the same
agent called in this very process, which is how tau2 runs its own. Wall and processor time, of both, medians.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from autoharness import agent_api  # noqa: E402
from autoharness.benchmarks.tau2.adapter import Tau2  # noqa: E402
from autoharness.host.process import AgentFile, Host  # noqa: E402
from autoharness.host.reply import checked_reply  # noqa: E402
from autoharness.host.starter import Confinement, HostStarter  # noqa: E402
from autoharness.llm.calls import AGENT, Limits  # noqa: E402
from autoharness.llm.gateway import Session  # noqa: E402

TEMPLATE = ROOT / "agent" / "templates" / "tau_bench.py"
MODES = ("none", "process", "sandbox")
GOAL_START_S, GOAL_TURN_MS = 0.25, 2.5
_MESSAGES = 40
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

Json = dict[str, Any]


def setting(tau2: Tau2) -> Json:
    """What an agent is started with: airline's policy and tools, and a conversation that is under way."""
    facts = tau2.facts("airline")
    words = "I would like to change my reservation, please; the number is in my profile, and I am in a hurry."
    history = [
        {"role": role, "content": f"{words} {n}"} for n in range(_MESSAGES // 2) for role in ("user", "assistant")
    ]
    return {
        "tools": facts.tools,
        "domain_policy": facts.policy,
        "llm": "m",
        "llm_args": {},
        "history": history,
        "random": "",
    }


def session() -> Session:
    answer = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes."}}]}
    return Session({AGENT: lambda request: answer}, "m", None, Limits(10**9, None, 0))


def message(number: int) -> Json:
    return {"role": "user", "content": f"And then? {number}"}


def first_reply_s(starter: HostStarter, started_with: Json) -> float:
    llm = session()
    clock = time.perf_counter()
    host = Host(starter, AgentFile(TEMPLATE.read_text(), "m", None), 60)
    try:
        host.call("start", lambda request: llm.complete_for_agent(request, dict), **started_with)
        host.call("next", lambda request: llm.complete_for_agent(request, dict), message=message(0))
        return time.perf_counter() - clock
    finally:
        host.close()


def starts_s(mode: str, folder: Path, started_with: Json, further: int) -> tuple[float, float]:
    """From nothing to the first reply of the first host, and the median of further ones."""
    clock = time.perf_counter()
    starter = HostStarter(Confinement(mode, folder))
    try:
        first = time.perf_counter() - clock + first_reply_s(starter, started_with)
        return first, statistics.median(first_reply_s(starter, started_with) for _ in range(further))
    finally:
        starter.close()


def bare_start_s() -> float:
    clock = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)
    return time.perf_counter() - clock


class InHost:
    """Turns of an agent in a host. A new conversation and host for each round: its length stays the same."""

    def __init__(self, mode: str, folder: Path, started_with: Json) -> None:
        self._starter = HostStarter(Confinement(mode, folder))
        self._started_with = started_with
        self._llm = session()
        self._host: Host | None = None

    def begin(self) -> Callable[[Json], None]:
        if self._host:
            self._host.close()
        host = self._host = Host(self._starter, AgentFile(TEMPLATE.read_text(), "m", None), 60)

        def complete(request: Json) -> Json:
            return self._llm.complete_for_agent(request, dict)

        host.call("start", complete, **self._started_with)

        def turn(one: Json) -> None:
            checked_reply(host.call("next", complete, message=one))

        return turn

    def cpu_s(self) -> float:
        assert self._host
        fields = Path(f"/proc/{self._host._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / _CLOCK_TICKS

    def close(self) -> None:
        if self._host:
            self._host.close()
        self._starter.close()


class InProcess:
    """Turns of the same agent, called as any Python object is."""

    def __init__(self, started_with: Json) -> None:
        spec = spec_from_file_location("agent_in_process", TEMPLATE)
        assert spec and spec.loader
        module = module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        self._agent_class = module.HarnessAgent
        self._started_with = started_with
        answer = {"choices": [{"message": {"role": "assistant", "content": "Yes."}}]}
        agent_api._use_gateway(lambda request: answer)

    def begin(self) -> Callable[[Json], None]:
        with_ = self._started_with
        tools = [agent_api.Tool(schema) for schema in with_["tools"]]
        agent = self._agent_class(tools, with_["domain_policy"], with_["llm"], with_["llm_args"])
        state = agent.get_init_state([agent_api._from_wire(one) for one in with_["history"]])

        def turn(one: Json) -> None:
            agent.generate_next_message(agent_api._from_wire(one), state)

        return turn

    def cpu_s(self) -> float:
        return 0.0

    def close(self) -> None:
        pass


def turn_ms(agent: InHost | InProcess, rounds: int, turns: int) -> tuple[float, float]:
    """Wall and processor time of a turn, medians over rounds of so many turns."""
    walls, cpus = [], []
    for _ in range(rounds):
        turn = agent.begin()
        cpu, clock = time.process_time() + agent.cpu_s(), time.perf_counter()
        for number in range(turns):
            turn(message(number))
        walls.append((time.perf_counter() - clock) / turns * 1000)
        cpus.append((time.process_time() + agent.cpu_s() - cpu) / turns * 1000)
    return statistics.median(walls), statistics.median(cpus)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=20, help="of each kind; ten further ones with each")
    parser.add_argument("--rounds", type=int, default=60, help="of each kind, of 20 turns")
    options = parser.parse_args()
    started_with = setting(Tau2())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bare = statistics.median(bare_start_s() for _ in range(options.starts))
        print(f"start    bare python {bare:.3f} s")
        for mode in MODES:
            both = [starts_s(mode, folder, started_with, 10) for _ in range(options.starts)]
            first, further = (statistics.median(some) for some in zip(*both, strict=True))
            ratio = f"{first / bare:.1f} x bare   (goal {GOAL_START_S} s)"
            print(f"start    {mode:10} first {first:.3f} s, then {further:.3f} s for each simulation   {ratio}")
        reference = InProcess(started_with)
        wall, cpu = turn_ms(reference, options.rounds, 20)
        print(f"turn     in process {wall:.2f} ms wall  {cpu:.2f} ms processor")
        for mode in MODES:
            agent = InHost(mode, folder, started_with)
            own_wall, own_cpu = turn_ms(agent, options.rounds, 20)
            agent.close()
            adds = f"adds {own_wall - wall:.2f} and {own_cpu - cpu:.2f} ms (goal {GOAL_TURN_MS} each)"
            ratio = f"{own_wall / wall:.0f} x in process"
            print(f"turn     {mode:10} {own_wall:.2f} ms wall  {own_cpu:.2f} ms processor   {adds}   {ratio}")


if __name__ == "__main__":
    main()
