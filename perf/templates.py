"""What each agent template costs: its framework's import in a confined host, its memory, and a turn.

    python perf/templates.py            about a minute

First start: from nothing to the agent's first reply, with the process that starts hosts, once for each worker. Start:
the same once that process is there, as for each simulation. Turn: one of an airline conversation of forty messages,
its LLM's answer at hand. Wall time of both processes, medians. Memory: the host's peak in RAM, a part of which all
hosts share, and of its address space, which agent_memory_mb limits.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from isolation import ROOT, message, session, setting

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.commands.agent_templates import PACKAGES, template_file
from autoharness.host.process import AgentFile, Host
from autoharness.host.reply import checked_reply
from autoharness.host.starter import Confinement, HostStarter

_TURNS = 20
_ADDRESS_SPACE, _IN_RAM = "VmPeak", "VmHWM"

Json = dict[str, Any]


class Measured:
    """A conversation with one of the templates, to its first reply, in a host of its own."""

    def __init__(self, starter: HostStarter, name: str, started_with: Json) -> None:
        agent = AgentFile((ROOT / template_file(name)).read_text(), "m", None)
        self._llm = session()
        self.host = Host(starter, agent, 60)
        self.host.call("start", self._complete, **started_with)
        self.turn(0)

    def turn(self, number: int) -> None:
        checked_reply(self.host.call("next", self._complete, message=message(number)))

    def _complete(self, request: Json) -> Json:
        return self._llm.complete_for_agent(request, dict)

    def memory_mb(self, what: str) -> float:
        lines = Path(f"/proc/{self.host._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{what}:"))


def first_start_s(name: str, folder: Path, started_with: Json) -> float:
    clock = time.perf_counter()
    starter = HostStarter(Confinement("sandbox", folder))
    measured = Measured(starter, name, started_with)
    found = time.perf_counter() - clock
    measured.host.close()
    starter.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5, help="of each template")
    parser.add_argument("--rounds", type=int, default=10, help=f"of each template, of {_TURNS} turns")
    options = parser.parse_args()
    started_with = setting(Tau2())
    with tempfile.TemporaryDirectory() as folder:
        for name in PACKAGES:
            first = statistics.median(first_start_s(name, Path(folder), started_with) for _ in range(options.starts))
            starter = HostStarter(Confinement("sandbox", Path(folder)))
            Measured(starter, name, started_with).host.close()
            starts, turns = [], []
            for _ in range(options.rounds):
                clock = time.perf_counter()
                measured = Measured(starter, name, started_with)
                starts.append((time.perf_counter() - clock) * 1000)
                clock = time.perf_counter()
                for turn in range(_TURNS):
                    measured.turn(turn)
                turns.append((time.perf_counter() - clock) / _TURNS * 1000)
                memory = measured.memory_mb(_IN_RAM), measured.memory_mb(_ADDRESS_SPACE)
                measured.host.close()
            starter.close()
            print(
                f"{name:16} first start {first:.2f} s   start {statistics.median(starts):.1f} ms   "
                f"turn {statistics.median(turns):.1f} ms   RAM {memory[0]:.0f} MB   address space {memory[1]:.0f} MB"
            )


if __name__ == "__main__":
    main()
