"""What each agent template costs: its framework's import in a confined host, its memory, and a turn.

    python benchmarks/templates.py            about a minute

Start: from nothing to the agent's first reply. Simulation: one more in the same host, to its first reply. Turn: one
of an airline conversation of forty messages, its LLM's answer at hand. Wall time of both processes, medians. Memory:
the host's peak in RAM, and of its address space, which agent_memory_mb limits; then after 64 conversations at once.
"""

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from isolation import ROOT, message, session, setting

from autoharness.host import AgentFile, Confinement, Host, checked_reply
from autoharness.tau import Tau2
from autoharness.templates import PACKAGES, template_file

_AT_ONCE = 64
_TURNS = 20
_ADDRESS_SPACE, _IN_RAM = "VmPeak", "VmHWM"

Json = dict[str, Any]


class Measured:
    """A host with one of the templates."""

    def __init__(self, name: str, folder: Path, started_with: Json) -> None:
        source = (ROOT / template_file(name)).read_text()
        self.host = Host(AgentFile(source, "m", None), 60, Confinement("sandbox", folder))
        self._llm = session()
        self._started_with = started_with

    def begin(self, name: str) -> None:
        """A conversation, to the agent's first reply."""
        self.host.call(name, "start", self._complete, **self._started_with)
        self.turn(name, 0)

    def turn(self, name: str, number: int) -> None:
        checked_reply(self.host.call(name, "next", self._complete, message=message(number)))

    def _complete(self, request: Json) -> Json:
        return self._llm.complete_for_agent(request, dict)

    def memory_mb(self, what: str) -> float:
        lines = Path(f"/proc/{self.host._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{what}:"))


def start_s(name: str, folder: Path, started_with: Json) -> float:
    clock = time.perf_counter()
    measured = Measured(name, folder, started_with)
    try:
        measured.begin("one")
        return time.perf_counter() - clock
    finally:
        measured.host.close()


def simulation_and_turn_ms(measured: Measured, rounds: int) -> tuple[float, float]:
    begun, turns = [], []
    for number in range(rounds):
        clock = time.perf_counter()
        measured.begin(str(number))
        begun.append((time.perf_counter() - clock) * 1000)
        clock = time.perf_counter()
        for turn in range(_TURNS):
            measured.turn(str(number), turn)
        turns.append((time.perf_counter() - clock) / _TURNS * 1000)
        measured.host.forget(str(number))
    return statistics.median(begun), statistics.median(turns)


def converse_at_once(measured: Measured) -> None:
    def converse(number: int) -> None:
        measured.begin(f"at once {number}")
        for turn in range(_TURNS):
            measured.turn(f"at once {number}", turn)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(converse, range(_AT_ONCE)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5, help="of each template")
    parser.add_argument("--rounds", type=int, default=10, help=f"of each template, of {_TURNS} turns")
    options = parser.parse_args()
    started_with = setting(Tau2())
    with tempfile.TemporaryDirectory() as folder:
        for name in PACKAGES:
            start = statistics.median(start_s(name, Path(folder), started_with) for _ in range(options.starts))
            measured = Measured(name, Path(folder), started_with)
            measured.begin("first")
            alone = measured.memory_mb(_IN_RAM), measured.memory_mb(_ADDRESS_SPACE)
            simulation, turn = simulation_and_turn_ms(measured, options.rounds)
            converse_at_once(measured)
            crowd = measured.memory_mb(_IN_RAM), measured.memory_mb(_ADDRESS_SPACE)
            measured.host.close()
            print(
                f"{name:16} start {start:.2f} s   simulation {simulation:.1f} ms   turn {turn:.1f} ms   "
                f"RAM {alone[0]:.0f} MB, {_AT_ONCE} at once {crowd[0]:.0f}   "
                f"address space {alone[1]:.0f} MB, {_AT_ONCE} at once {crowd[1]:.0f}"
            )


if __name__ == "__main__":
    main()
