"""Whether an iteration of the loop costs at the end of a long night what it costs at its beginning.

    python perf/long_night.py                   33 iterations are run and 267 copied: some minutes on two cores
    python perf/long_night.py --all             all 300 are run, and five versions kept on the way
    python perf/long_night.py --profile 5       and the functions of the door that the last five spend most in

Everything is real but the benchmark and what the agent says: `optimize.py`'s own loop runs in this process, with a
repository, a vault, workers, agent hosts, the gate, and the scripted coding agent in its confinement. The tasks are
tiny, so that what is not the loop's own hides nothing: the agent says how good it is, and a reward is made of that.
Each edit is another one, is worse where train tasks do not show it, and is rejected by the gate after six pairs. The
copies are made of the last iteration that was run, by the package's own ledger, store and learnings: another agent
file, its trials, its row, its lines and folders.

Ten iterations at the beginning and ten up to the 60th are compared with ten at the end; the first of each run is in
none of them: it pays for what comes once. From the beginning to the 60th the coding agent is told more and more of
what was tried, up to a bound.

What is counted: bytes that were read and written by system calls (Linux's rchar and wchar; "door" is the thread of
the loop, "all" has the other threads, git and the coding agent too, but not the workers), files and folders that the
door opened, processor time. Counts are steady; seconds are as noisy as the machine.
"""

import argparse
import contextlib
import cProfile
import json
import os
import pstats
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support")]

from checkout import Checkout  # noqa: E402

from autoharness.commands import optimize  # noqa: E402
from autoharness.core.outcomes import Outcome  # noqa: E402
from autoharness.loop.learnings import write_section  # noqa: E402
from autoharness.loop.loop import Loop  # noqa: E402
from autoharness.vault.iterations import ACCEPTED, REJECTED, Iteration, Iterations  # noqa: E402
from autoharness.vault.ledger import Ledger  # noqa: E402
from autoharness.vault.spending import FILE as SPENDING  # noqa: E402
from autoharness.vault.spending import spent  # noqa: E402
from autoharness.vault.store import Store  # noqa: E402

COMPARED = 10
"""So many iterations of the beginning are compared with as many of the end."""
MIDDLE = 60
"""... and with as many that end here."""
_RUN = 1 + COMPARED
"""So many are run before the copies, and as many after them."""
_KEPT = 5
"""So many versions are kept where all are run, before the last of them begin."""

_BENCHMARK = '''"""Tasks that say how good the agent says it is."""

from benchmark import BenchmarkRunner, Check, Result, Simulation, Step

HELD_OUT = [f"held-out-{number}" for number in range(6)]


class Levels(BenchmarkRunner):
    """The agent is as good as it says."""

    policy = "Say how good you are."

    def splits(self) -> dict[str, list[str]]:
        return {"train": ["train-0", "train-1"], "test": HELD_OUT}

    def simulate(self, simulation: Simulation) -> Result:
        level, _, how = simulation.ask("How good are you?", {}).partition(" ")
        worse = how == "and careless" and simulation.task_id in HELD_OUT
        reward = 0.5 + 0.09 * int(level) - 0.5 * worse
        return Result(reward, [Check("it is good", False, f"level {level}")])

    def reference(self, task_id: str) -> list[Step]:
        return []
'''

_AGENT = '''"""An agent that says how good it is."""

from dataclasses import dataclass, replace
from typing import Any

from autoharness.agent_api import AgentInput, AssistantMessage, Message, Tool

LEVEL = "0"
IDEA = "none"


@dataclass
class HarnessState:
    turns: int = 0


class HarnessAgent:
    def __init__(
        self, tools: list[Tool], domain_policy: str, llm: str | None = None, llm_args: dict[str, Any] | None = None
    ) -> None:
        self.tools = tools

    def get_init_state(self, message_history: list[Message] | None = None) -> HarnessState:
        return HarnessState()

    def generate_next_message(
        self, message: AgentInput, state: HarnessState
    ) -> tuple[AssistantMessage, HarnessState]:
        return AssistantMessage(content=LEVEL), HarnessState(state.turns + 1)
'''

_BANK = """
import os
import re
from types import SimpleNamespace

PERIOD = {period}


def edited(source):
    iteration = int(os.environ["AUTOHARNESS_ITERATION"])
    level = int(re.search(r'LEVEL = "(\\d+)', source).group(1))
    says = f"{{level + 1}}" if iteration % PERIOD == 0 else f"{{level}} and careless"
    source = re.sub(r'LEVEL = ".*"', f'LEVEL = "{{says}}"', source)
    return re.sub(r'IDEA = ".*"', f'IDEA = "number {{iteration}}"', source)


BANK = [SimpleNamespace(name="idea", why="it says something else", apply=edited)]
"""


@dataclass(frozen=True)
class Counts:
    """What was used so far, or by one iteration."""

    door_read: float
    door_written: float
    all_read: float
    all_written: float
    files: float
    door_cpu_s: float
    children_cpu_s: float
    wall_s: float

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(*(mine - its for mine, its in zip(vars(self).values(), vars(other).values(), strict=True)))


_WORDS = {
    "door_read": ("bytes read, door", "{:,.0f}"),
    "door_written": ("bytes written, door", "{:,.0f}"),
    "all_read": ("bytes read, all", "{:,.0f}"),
    "all_written": ("bytes written, all", "{:,.0f}"),
    "files": ("files opened, door", "{:,.1f}"),
    "door_cpu_s": ("CPU seconds, door", "{:.3f}"),
    "children_cpu_s": ("CPU seconds, git and coding agent", "{:.3f}"),
    "wall_s": ("seconds", "{:.3f}"),
}


class Meter:
    """Counts what this process uses; there is one."""

    def __init__(self) -> None:
        self._files = 0
        sys.addaudithook(self._hear)

    def _hear(self, event: str, _: object) -> None:
        self._files += event in ("open", "os.listdir", "os.scandir")

    def read(self) -> Counts:
        door, everything = (_io(Path("/proc") / name / "io") for name in ("thread-self", "self"))
        children = os.times()
        return Counts(
            *door,
            *everything,
            self._files,
            time.thread_time(),
            children.children_user + children.children_system,
            time.monotonic(),
        )


def _io(file: Path) -> tuple[int, int]:
    """Bytes that were read and written by system calls."""
    lines = dict(line.split(": ") for line in file.read_text().splitlines())
    return int(lines["rchar"]), int(lines["wchar"])


def prepared(folder: Path, period: int) -> Checkout:
    """`period`: one edit in so many makes the agent better."""
    bank = folder / "bank.py"
    bank.write_text(_BANK.format(period=period))
    arguments = json.dumps(["--bank", str(bank)])
    checkout = Checkout.make(
        folder,
        'benchmark: "levels:Levels"\nagent_model: offline/clerk\nmax_concurrency: 2\nmax_trials: 8\n'
        f"coding_agent: scripted\ncoding_agent_args: {arguments}\nmax_without_gain: 1000\n",
    )
    (checkout.root / "levels.py").write_text(_BENCHMARK)
    checkout.agent.write_text(_AGENT)
    checkout.commit()
    done = checkout.run("prepare.py")
    assert done.returncode == 0, done.stderr
    return checkout


class Copies:
    """Copy what the last iteration that was run left in the vault, for another agent file."""

    def __init__(self, store: Store, before: int, holdout_before: int) -> None:
        """`before`: how many run folders there were before it; likewise for lines of the holdout's log."""
        self._store = store
        self._iteration, self._gate = Iterations(store).all()[-1], Ledger(store).gates[-1]
        self._runs = sorted((store.folder / "runs").iterdir())[before:]
        self._asked = store.holdout_log()[holdout_before:]
        lines = map(json.loads, store.read_lines(SPENDING))
        self._spent = [line for line in lines if line["iteration"] == self._iteration.number]
        trials = [json.loads(path.read_text()) for path in store.trial_files()]
        assert self._iteration.edit
        self._edit = self._iteration.edit
        self._trials = [one for one in trials if one["key"]["agent"] == self._edit.agent]

    def make(self, number: int) -> None:
        source = self._store.agent_source(self._edit.agent).replace(
            f"number {self._iteration.number}", f"number {number}"
        )
        agent = self._store.keep_agent(source.encode())
        for trial in self._trials:
            outcome = Outcome.from_json(trial["outcome"])
            outcome = replace(outcome, trial=replace(outcome.trial, agent=agent))
            self._store.keep(trial["key"] | {"agent": agent}, outcome)
        for run in self._runs:
            shutil.copytree(run, self._store.new_run(), dirs_exist_ok=True)
        for entry in self._asked:
            self._store.count_holdout(entry)
        for line in self._spent:
            self._store.append_line(SPENDING, line | {"iteration": number})
        gate = Ledger(self._store).append(replace(self._gate, agent=agent))
        iteration = replace(self._iteration, number=number, edit=replace(self._edit, agent=agent), gate=gate.number)
        iterations = Iterations(self._store)
        iterations.save(iteration)
        iterations.show_edit(iteration)
        write_section(iteration, gate, iterations.diff(iteration), spent(self._store, number))


@contextlib.contextmanager
def metered(profile: cProfile.Profile, first_profiled: int) -> Iterator[dict[int, Counts]]:
    """Gives what each iteration used, while the block has the loop run; it has no seam for this, and is patched."""
    counts: dict[int, Counts] = {}
    meter, plain = Meter(), Loop.iterate

    def iterate(loop: Loop, iteration: Iteration) -> None:
        before = meter.read()
        with profile if iteration.number >= first_profiled else contextlib.nullcontext():
            plain(loop, iteration)
        counts[iteration.number] = meter.read() - before

    Loop.iterate = iterate  # type: ignore[method-assign]
    try:
        yield counts
    finally:
        Loop.iterate = plain  # type: ignore[method-assign]


def optimized(iterations: int, log: Path) -> None:
    """Until so many are done."""
    with log.open("a") as file, contextlib.redirect_stderr(file), contextlib.redirect_stdout(file):
        assert optimize.main(["--max-iterations", str(iterations)]) == 0


def run_and_copy(store: Store, iterations: int, log: Path) -> None:
    optimized(_RUN - 1, log)
    runs, asked = len(list((store.folder / "runs").iterdir())), len(store.holdout_log())
    optimized(_RUN, log)
    copies, done = Copies(store, runs, asked), _RUN
    for end in (MIDDLE, iterations):
        for number in range(done + 1, end - _RUN + 1):
            copies.make(number)
        optimized(end, log)
        done = end


def table(counts: dict[int, Counts], iterations: int) -> list[str]:
    windows = [range(end - COMPARED + 1, end + 1) for end in (_RUN, MIDDLE, iterations)]
    heads = [f"{window[0]} to {window[-1]}" for window in windows]
    lines = [
        f"| one iteration | {' | '.join(heads)} | end : beginning | end : {heads[1]} |",
        "|---|---|---|---|---|---|",
    ]
    for name, (words, form) in _WORDS.items():
        first, middle, last = (fmean(getattr(counts[number], name) for number in window) for window in windows)
        values = " | ".join(form.format(value) for value in (first, middle, last))
        lines.append(f"| {words} | {values} | {last / first:.2f} | {last / middle:.2f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--all", action="store_true", help="copy none")
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="where the door's time goes, at the end")
    parser.add_argument("--folder", type=Path, help="where to leave checkout, vault and log; must not exist")
    options = parser.parse_args()
    iterations: int = options.iterations
    period = (iterations - COMPARED) // _KEPT if options.all else iterations + 1
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(exist_ok=options.folder is None, parents=True)
        checkout = prepared(folder.absolute(), period)
        stack.callback(os.chdir, ROOT)
        os.chdir(checkout.root)
        os.environ |= {"AUTOHARNESS_VAULT": str(checkout.vault), "PYTHONPATH": str(ROOT)}
        store, log, profile = Store(checkout.vault), checkout.root.parent / "log", cProfile.Profile()
        with metered(profile, iterations - options.profile + 1) as counts:
            optimized(iterations, log) if options.all else run_and_copy(store, iterations, log)
        ends = [one.end for one in Iterations(store).all()]
        assert ends == [REJECTED if number % period else ACCEPTED for number in range(1, iterations + 1)]
        print(f"{iterations} iterations, {len(counts)} of them run; {len(store.trial_files())} simulations")
        print("\n".join(table(counts, iterations)))
        if options.profile:
            pstats.Stats(profile).sort_stats("tottime").print_stats(40)


if __name__ == "__main__":
    main()
