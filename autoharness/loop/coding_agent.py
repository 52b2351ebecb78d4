"""Runs a coding agent headless, for one edit: confined, bounded in time, ended with all that it started.

What it can reach (Landlock): the worktree to read, its folders `agent` and `workspace` to write, a scratch folder as
its home, the system's programs and libraries without tau2, and its own log-in if it has no key. Not the checkout,
the vault, the task data, or anything else of this account. Each limit of that is a line of `not_enforced`.

What it does not protect:
- The network is open: a coding agent has to reach its model. It could fetch what is published of a benchmark, or send
  away what it reads. The leak scan looks at what comes back in an edit. Before Linux 6.7 all services of this machine
  answer it by TCP, on newer kernels those at the ports of its provider; by UDP all do.
- It can see what an agent host does to the machine as a whole (its counters, its caches), if it checks for that.
- It can use the key that it is given as it likes: only the provider sees what it spends beyond what it reports.
- It can change modes, times and attributes of this account's files wherever they are; contents it cannot change.
- Memory, processor and the number of processes are bounded only by its time limit.
- Without Landlock (another system, an older kernel) it can read and write what this account can.
"""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoharness.core.errors import UserError
from autoharness.core.redaction import one_line, printable, without_whole_keys
from autoharness.core.settings import Experiment
from autoharness.host import landlock
from autoharness.host.covert_channels import settle
from autoharness.loop.coding_agent_access import PROXIES, Reach
from autoharness.loop.coding_agents.definition import PROMPT_FILE, CodingAgent, Used, with_whole_paths
from autoharness.loop.worktree import Worktree

_CHILD = Path(__file__).resolve().with_name("coding_agent_child.py")
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "TERM", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
_MOST_TRANSCRIPT_BYTES, _LONGEST_LINE_BYTES = 20_000_000, 1_000_000
_LONGEST_END_S, _LONGEST_ECHO_S = 120.0, 2.0
"""How long to wait until the agent and all that it started are gone; until its last output has come."""

PROMPT = (
    "Read PROGRAM.md and workspace/diagnosis.md in this folder, and do what PROGRAM.md says: one edit of "
    "agent/agent.py, then workspace/note.md and workspace/prediction.json, then stop. Nobody is there to ask."
)


@dataclass(frozen=True)
class Ran:
    """How one run of a coding agent ended."""

    exit_code: int | None
    """None if it was ended."""
    timed_out: bool
    left_behind: int | None
    """Processes that it left running, and that were ended. None: what should end them was killed itself."""
    seconds: float
    cost_usd: float | None
    """None if it does not say."""
    tokens: int
    last_words: str

    too_long: bool = False
    """It was ended because it printed too much."""
    silent: bool = False
    """It reports what it uses, and it used nothing."""

    @property
    def failed(self) -> bool:
        """It ended by itself, and did not reach its model: an outage, or a mistake in its configuration. One that was
        ended, by us or by a signal, or that used something, had its turn."""
        ended_by_itself = self.exit_code is not None and self.exit_code >= 0
        return ended_by_itself and not self.tokens and (self.exit_code != 0 or self.silent)


class Coder:
    """A coding agent as this machine can run it."""

    def __init__(self, agent: CodingAgent, experiment: Experiment, private: Iterable[str] = ()) -> None:
        """`private`: the benchmark's folders, besides tau2's.

        Raises UserError if the agent is not installed, or if this is no Linux.
        """
        if sys.platform != "linux":  # its processes are found and ended by what /proc says of them
            raise UserError("coding agents run on Linux alone: run optimize.py there, or in a container")
        self.agent = agent
        self._experiment, self._private = experiment, tuple(private)
        self._reach = Reach(agent, experiment, self._private)
        self._traces: list[str] = []

    @property
    def not_enforced(self) -> list[str]:
        """What its confinement leaves open on this machine, in lines."""
        return [f"{self.agent.name}: {line}" for line in (*self._reach.not_enforced(self._given()), *self._traces)]

    def settle_traces(self) -> None:
        """Take away what reading leaves behind (`covert_channels`): before agent hosts run, and before an edit."""
        if self.agent.uses_network and landlock.abi():  # not if it is no model, or may read the vault itself
            self._traces = settle(self._private, map(str, self._reach.roots), map(str, self._reach.log_in))

    def edit(self, worktree: Worktree, transcript: Path, iteration: int) -> Ran:
        """Let it work in the worktree until it stops. What it prints is appended to the transcript.

        Raises UserError if it cannot be confined, and if the transcript cannot be written: the agent is not kept
        waiting for that.
        """
        self.settle_traces()
        prompt_file = worktree.scratch / PROMPT_FILE
        prompt_file.write_text(PROMPT)
        further = with_whole_paths(self._experiment.coding_agent_args, self.agent.reads(self._experiment))
        arguments = [*self.agent.arguments(self._experiment, worktree.scratch), *further]
        environment = self._environment(worktree, iteration)
        setup = {
            "command": [str(self._reach.program), *arguments],
            "folder": str(worktree.root),
            "environment": environment,
            "prompt": str(prompt_file) if self.agent.prompt_on_stdin else "",
            "rules": [(str(path), rights) for path, rights in self._reach.rules(worktree)],
            "ports": self._reach.ports(environment),
            "network": self.agent.uses_network,
            "landlock_abi": landlock.abi(),
        }
        started = time.monotonic()
        ran = _supervised(setup, self._experiment.coding_agent_timeout_s, transcript)
        if why := ran.report.get("unconfined"):
            raise UserError(f"the coding agent was not started: {why}")
        used = self._used(ran.printed, worktree.scratch)
        was_ended = ran.timed_out or ran.too_long
        return Ran(
            exit_code=None if was_ended else ran.report.get("exit_code", 1),
            timed_out=ran.timed_out,
            too_long=ran.too_long,
            left_behind=ran.report.get("left_behind"),
            seconds=time.monotonic() - started,
            cost_usd=self._cost_usd(used),
            tokens=used.tokens,
            last_words=_last_line(ran.printed),
            silent=self.agent.says_tokens and not used.tokens,
        )

    def _used(self, printed: str, scratch: Path) -> Used:
        """What it says that it used. It can print and write anything: invalid figures are ignored."""
        try:
            used = self.agent.used(printed, scratch)
            tokens = (used.prompt_tokens, used.completion_tokens)
            cost_usd = None if used.cost_usd is None else float(used.cost_usd)
        except Exception:
            return Used()
        sound = cost_usd is None or 0 <= cost_usd < math.inf
        return Used(*tokens, cost_usd if sound else None) if min(tokens) >= 0 else Used()

    def _cost_usd(self, used: Used) -> float | None:
        """The cost that it reports; otherwise by the price of its model, if the configuration has that."""
        price = self._experiment.prices.get(self._experiment.coding_model or "")
        if used.cost_usd is not None or not price or not used.tokens:
            return used.cost_usd
        spent = used.prompt_tokens * price["input"] + used.completion_tokens * price["output"]
        return float(spent) / 1_000_000

    def _environment(self, worktree: Worktree, iteration: int) -> dict[str, str]:
        scratch = str(worktree.scratch)
        own = {"HOME": scratch, "TMPDIR": scratch, "TMP": scratch, "CI": "1", "AUTOHARNESS_ITERATION": str(iteration)}
        log_in = self.agent.log_in_settings(Path.home()) if self._reach.log_in else {}
        return {**self._given(), **own, **self.agent.settings(self._experiment, worktree.scratch), **log_in}

    def _given(self) -> dict[str, str]:
        """The variables of this environment that it is given."""
        return {
            name: value
            for name, value in os.environ.items()
            if name in _KEPT_VARIABLES or name.lower() in PROXIES or self.agent.needs(name)
        }


@dataclass(frozen=True)
class _Supervised:
    """The result of `coding_agent_child`."""

    report: dict[str, Any]
    """Empty if it was killed itself."""
    timed_out: bool
    too_long: bool
    printed: str


def _supervised(setup: dict[str, Any], timeout_s: float, transcript: Path) -> _Supervised:
    reads, writes = os.pipe()
    report = os.fdopen(reads, "rb")
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-B", str(_CHILD), str(writes)],
            pass_fds=[writes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is the door's to handle
        )
    finally:
        os.close(writes)
    output = _Output(process, transcript)
    timed_out = False
    try:
        assert process.stdin
        with suppress(BrokenPipeError):  # it has ended already; its report says nothing then
            process.stdin.write(json.dumps(setup).encode() + b"\n")
            process.stdin.flush()
        deadline = time.monotonic() + timeout_s
        while not (output.ended.wait(0.1) or output.too_long or timed_out):
            timed_out = time.monotonic() > deadline
            if process.poll() is not None and not output.ended.wait(_LONGEST_ECHO_S):
                break  # it was killed, and what it should end may live on
    finally:
        _end(process)
        output.ended.wait(5)
    with report:
        text = report.read().decode(errors="replace")
    output.finish()
    first = text.partition("\n")[0]
    return _Supervised(json.loads(first) if first.startswith("{") else {}, timed_out, output.too_long, output.text)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Closing its stdin tells the child to end the agent, and all that it started."""
    assert process.stdin
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(timeout=_LONGEST_END_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class _Output:
    """What the agent prints goes to the transcript, line by line, without keys.

    All of it is read, whether or not it can be written: otherwise the agent would wait for ever on a full disk.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", transcript: Path) -> None:
        self._process, self._transcript = process, transcript
        self._lines: list[str] = []
        self._unwritten = b""
        self._bytes = 0
        self.ended = threading.Event()
        """Set when its last output has come, and everything that could print is gone."""
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def text(self) -> str:
        return "".join(self._lines)

    @property
    def too_long(self) -> bool:
        return self._bytes > _MOST_TRANSCRIPT_BYTES

    def finish(self) -> None:
        """Write what could not be written so far. Raises UserError."""
        try:
            self._write()
        except OSError as error:
            raise UserError(
                f"{self._transcript}: cannot be written: {error.strerror}: make room there; the same command has "
                "another edit made, and goes on from there"
            ) from error

    def _read(self) -> None:
        assert self._process.stdout
        while line := self._process.stdout.readline(_LONGEST_LINE_BYTES):
            self._bytes += len(line)
            if not self.too_long:
                self._lines.append(printable(without_whole_keys(line.decode(errors="replace"))))
                self._unwritten += self._lines[-1].encode()
                with suppress(OSError):  # `finish` says so
                    self._write()
        self.ended.set()

    def _write(self) -> None:
        self._transcript.parent.mkdir(parents=True, exist_ok=True)
        with self._transcript.open("ab", buffering=0) as file:
            while self._unwritten:
                self._unwritten = self._unwritten[file.write(self._unwritten) :]


def _last_line(printed: str) -> str:
    lines = [line for line in printed.splitlines() if line.strip()]
    return one_line(lines[-1]) if lines else "without a word"
