"""Runs a coding agent headless, for one edit: confined, bounded in time, ended with all that it started.

What it can reach (Landlock): the worktree to read, its folders `agent` and `workspace` to write, a scratch folder as
its home, the system's programs and libraries without tau2, and where it has no key its own log-in. Not the checkout,
the vault, the task data, or anything else of this account. Each limit of that is a line of `not_enforced`.

What it does not protect:
- The network is open: a coding agent has to reach its model. It could fetch what is published of a benchmark, or send
  away what it reads. The leak scan looks at what comes back in an edit.
- The key that it is given is its own to use: what it spends beside what it says is seen by the provider alone.
- Modes, times and attributes of files that belong to this account can be changed wherever they lie; contents cannot.
- Memory, processor and the number of processes are not bounded, but by its time limit.
- Without Landlock (another system, an older kernel) it can read and write what this account can.
"""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoharness import data, landlock
from autoharness.coding_agents import PROMPT_FILE, CodingAgent, Used
from autoharness.config import Experiment
from autoharness.errors import UserError
from autoharness.sandbox import readable
from autoharness.scrub import one_line, printable, without_whole_keys
from autoharness.store import default_vault
from autoharness.worktree import Worktree

_CHILD = Path(__file__).resolve().with_name("coder_child.py")
_SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc",
    "/opt",
    "/proc",
    "/sys",
    "/run/systemd/resolve",
)
_DEVICES = ("null", "zero", "full", "random", "urandom")
"""Not the terminals: it could read what is typed into others. Not shared memory, which would stay."""
_PACKAGE_FOLDERS = ("*-packages", "python*/*-packages", "lib/*-packages", "lib/python*/*-packages")
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "TERM", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "node_extra_ca_certs")
_MOST_TRANSCRIPT_BYTES, _LONGEST_LINE_BYTES = 20_000_000, 1_000_000
_LONGEST_END_S = 120.0
_MOST_LINKS = 8

PROMPT = (
    "Read PROGRAM.md and workspace/diagnosis.md in this folder, and do what PROGRAM.md says: one edit of "
    "agent/agent.py, then workspace/note.md and workspace/prediction.json, then stop. Nobody is there to ask."
)


@dataclass(frozen=True)
class Ran:
    """How one run of a coding agent ended."""

    exit_code: int | None
    """None where it was ended."""
    timed_out: bool
    left_behind: int
    """Processes that were still there after it."""
    seconds: float
    cost_usd: float | None
    """None where it does not say."""
    tokens: int
    last_words: str

    silent: bool = False
    """It is one that says what it used, and it used nothing."""

    @property
    def failed(self) -> bool:
        """It ended by itself, and did not reach its model: an outage, or a mistake in its configuration. One that was
        ended, by us or by a signal, or that used something, had its turn."""
        ended_by_itself = self.exit_code is not None and self.exit_code >= 0
        return ended_by_itself and not self.tokens and (self.exit_code != 0 or self.silent)


class Coder:
    """A coding agent as this machine can run it."""

    def __init__(self, agent: CodingAgent, experiment: Experiment, private: Iterable[str] = ()) -> None:
        """`private`: where the benchmark lies, beside tau2's places. Raises UserError where it is not installed."""
        self._benchmark = {Path(path).resolve() for path in private}
        self.agent = agent
        self._experiment = experiment
        self._program = _found(agent)
        self.not_enforced = list(self._not_enforced())

    def edit(self, worktree: Worktree, transcript: Path, iteration: int) -> Ran:
        """Let it work in the worktree until it stops. What it prints is appended to the transcript."""
        prompt_file = worktree.scratch / PROMPT_FILE
        prompt_file.write_text(PROMPT)
        arguments = [*self.agent.arguments(self._experiment, worktree.scratch), *self._experiment.coding_agent_args]
        setup = {
            "command": [str(self._program), *arguments],
            "folder": str(worktree.root),
            "environment": self._environment(worktree, iteration),
            "prompt": str(prompt_file) if self.agent.prompt_on_stdin else "",
            "rules": [(str(path), rights) for path, rights in self._rules(worktree)],
        }
        started = time.monotonic()
        report, timed_out, printed = _supervised(setup, self._experiment.coding_agent_timeout_s, transcript)
        used = self._used(printed, worktree.scratch)
        return Ran(
            exit_code=None if timed_out else report.get("exit_code", 1),
            timed_out=timed_out,
            left_behind=int(report.get("left_behind", 0)),
            seconds=time.monotonic() - started,
            cost_usd=self._cost_usd(used),
            tokens=used.tokens,
            last_words=_last_line(printed),
            silent=self.agent.says_tokens and not used.tokens,
        )

    def _used(self, printed: str, scratch: Path) -> Used:
        """What it says that it used. It can print and write anything: what makes no sense says nothing."""
        try:
            used = self.agent.used(printed, scratch)
            tokens = (used.prompt_tokens, used.completion_tokens)
            cost_usd = None if used.cost_usd is None else float(used.cost_usd)
        except Exception:
            return Used()
        sound = cost_usd is None or 0 <= cost_usd < math.inf
        return Used(*tokens, cost_usd if sound else None) if min(tokens) >= 0 else Used()

    def _cost_usd(self, used: Used) -> float | None:
        """What it says; else by the price of its model, where that is in the configuration."""
        price = self._experiment.prices.get(self._experiment.coding_model or "")
        if used.cost_usd is not None or not price or not used.tokens:
            return used.cost_usd
        spent = used.prompt_tokens * price["input"] + used.completion_tokens * price["output"]
        return float(spent) / 1_000_000

    def _environment(self, worktree: Worktree, iteration: int) -> dict[str, str]:
        scratch = str(worktree.scratch)
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in _KEPT_VARIABLES or name.lower() in _PROXIES or self.agent.needs(name)
        }
        own = {"HOME": scratch, "TMPDIR": scratch, "TMP": scratch, "CI": "1", "AUTOHARNESS_ITERATION": str(iteration)}
        log_in = self.agent.log_in_settings(Path.home()) if self._log_in else {}
        return {**kept, **own, **self.agent.settings(self._experiment, worktree.scratch), **log_in}

    @property
    def _log_in(self) -> list[Path]:
        """What is open to it of the user's home: nothing where it is given a key."""
        return [] if self.agent.key_names else [Path.home() / name for name in self.agent.log_in]

    def _rules(self, worktree: Worktree) -> Iterator[tuple[Path, int]]:
        """What it may do where; see the top of this file."""
        roots = {
            Path(path).resolve() for path in (*_SYSTEM, *_python(), *_around(self._program)) if Path(path).exists()
        }
        private = {path.resolve() for path in _private()} | self._benchmark | _tau2_in(roots)
        above = {folder for one in private for folder in one.parents}
        for root in sorted(roots):
            yield from readable(root, private, above, landlock.RUN)
        for name in self.agent.reads(self._experiment):
            yield Path(name).resolve(), landlock.READ
        yield from ((Path("/dev") / name, landlock.OWN) for name in _DEVICES)
        yield worktree.root, landlock.RUN
        for folder in (worktree.root / "agent", worktree.root / "workspace", worktree.scratch):
            yield folder, landlock.OWN
        yield from ((folder, landlock.OWN) for folder in self._log_in)

    def _not_enforced(self) -> Iterator[str]:
        name, version = self.agent.name, landlock.abi()
        yield f"{name}: it can change modes and times of this account's files, not what is in them"
        if not version:
            yield f"{name}: the kernel has no Landlock: it can read and write what this account can, the vault too"
        elif version < landlock.SCOPES_SINCE:
            yield f"{name}: it can signal other processes of this account (Landlock ABI {version})"
        if self.agent.uses_network:
            yield f"{name}: the network is open to it, which it needs: it could fetch what a benchmark publishes"
            if self.agent.key_names:
                yield f"{name}: it is given {', '.join(self.agent.key_names)}"
        if self._log_in:
            folders = ", ".join(f"~/{folder}" for folder in self.agent.log_in)
            yield f"{name}: no key is set, so its log-in is open to it: {folders}"
        if not self.agent.takes_turns:
            yield f"{name}: it takes no limit of turns; coding_agent_timeout_s bounds it"


def _supervised(setup: dict[str, Any], timeout_s: float, transcript: Path) -> tuple[dict[str, Any], bool, str]:
    """Runs `coder_child`; returns its report, whether the time was up, and what the agent printed."""
    reads, writes = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-I", "-B", str(_CHILD), str(writes)],
        pass_fds=[writes],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is the door's to handle
    )
    os.close(writes)
    output = _Output(process, transcript)
    timed_out = False
    try:
        assert process.stdin
        process.stdin.write(json.dumps(setup).encode() + b"\n")
        process.stdin.flush()
        deadline = time.monotonic() + timeout_s
        while not output.ended.wait(0.1):
            if time.monotonic() > deadline or output.too_long:
                timed_out = True
                break
    finally:
        _end(process)
        output.ended.wait(5)
    with os.fdopen(reads, "rb") as pipe:
        text = pipe.read().decode(errors="replace")
    return (json.loads(text) if text.startswith("{") else {}), timed_out, output.text


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
    """What the agent prints goes to the transcript, line by line, without keys."""

    def __init__(self, process: "subprocess.Popen[bytes]", transcript: Path) -> None:
        self._process, self._transcript = process, transcript
        self._lines: list[str] = []
        self._bytes = 0
        self.ended = threading.Event()
        """When it printed the last, and everything that could print is gone."""
        transcript.parent.mkdir(parents=True, exist_ok=True)
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def text(self) -> str:
        return "".join(self._lines)

    @property
    def too_long(self) -> bool:
        return self._bytes > _MOST_TRANSCRIPT_BYTES

    def _read(self) -> None:
        assert self._process.stdout
        with self._transcript.open("a", encoding="utf-8") as file:
            while line := self._process.stdout.readline(_LONGEST_LINE_BYTES):
                self._bytes += len(line)
                if not self.too_long:
                    self._lines.append(printable(without_whole_keys(line.decode(errors="replace"))))
                    file.write(self._lines[-1])
                    file.flush()
        self.ended.set()


def _found(agent: CodingAgent) -> Path:
    program = shutil.which(agent.program) if "/" not in agent.program else agent.program
    if program is None or not Path(program).exists():
        raise UserError(f"coding_agent: {agent.name} is not installed ({agent.program}): {agent.install}")
    return Path(program).absolute()


def _python() -> list[str]:
    """This Python and its packages: some coding agents run on it."""
    own = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")]
    return [*own, sys.prefix, sys.base_prefix]


def _around(program: Path) -> list[str]:
    """The folders that an installed program consists of, beyond the system's: those along its links, and those of the
    interpreter that its first line names."""
    files = _links(program)
    with program.open("rb") as file:
        words = file.readline(1000).decode(errors="replace").split()
    if words and words[0].startswith("#!"):
        named = [word for word in words[1:] if not word.startswith("-")]
        interpreter = shutil.which(named[0]) if words[0].endswith("/env") and named else words[0][2:]
        files += _links(Path(interpreter)) if interpreter and Path(interpreter).exists() else []
    return [_installation(file) for file in files]


def _links(file: Path) -> list[Path]:
    """The file, and what it links to, one after the other."""
    found = [file.absolute()]
    while found[-1].is_symlink() and len(found) < _MOST_LINKS:
        found.append(Path(os.path.normpath(found[-1].parent / found[-1].readlink())))
    return found


def _installation(file: Path) -> str:
    """What belongs together with a program: all of node_modules, or the environment whose `bin` it lies in."""
    parts = file.parts
    if "node_modules" in parts:
        return str(Path(*parts[: parts.index("node_modules") + 1]))
    folder = file.parent.parent.resolve()
    held_by_it = [Path.home() / ".local", *(path.resolve() for path in _private())]
    whole = any(
        place.is_relative_to(folder) for place in held_by_it
    )  # the home, the checkout, the root of everything
    return str(folder if file.parent.name == "bin" and not whole else file)


def _private() -> tuple[Path, ...]:
    """What no rule may open, wherever it lies."""
    return default_vault(), data.folder(), Path.cwd()


def _tau2_in(roots: set[Path]) -> set[Path]:
    """Wherever tau2 lies among these, with its tasks."""
    folders = [place for root in roots for pattern in _PACKAGE_FOLDERS for place in root.glob(pattern)]
    inside = [root for root in roots if root.name.endswith("-packages")]
    return {(folder / "tau2").resolve() for folder in [*folders, *inside] if (folder / "tau2").exists()}


def _last_line(printed: str) -> str:
    lines = [line for line in printed.splitlines() if line.strip()]
    return one_line(lines[-1]) if lines else "without a word"
