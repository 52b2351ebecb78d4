"""Starts agent hosts. One process of each worker (the starter) has imported what every host needs, and forks them.

So a host for each simulation costs only a few milliseconds. The starter runs no line of an agent file: a host
confines itself after the fork, before it reads one. Hosts end with the starter, and the starter with its worker, also
if that is killed.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autoharness.core.errors import HostFailed
from autoharness.core.files import remove_tree

_CHILD = Path(__file__).with_name("child.py")
_LONGEST_START_S = 60.0
_LONGEST_END_S = 5.0
_LONGEST_PACKET = 65536


@dataclass(frozen=True)
class Confinement:
    """How agent hosts are kept apart from everything else."""

    mode: str
    """"sandbox": confined by the kernel. "process": a separate process that is watched. "none": not even watched, and
    it has this process's environment."""
    folder: Path
    """Each host gets its own folder in it while it lives."""
    private: tuple[str, ...] = ()
    """Folders that no rule may let it read, wherever they are."""
    memory_mb: int = 2048
    base_url: bool = False
    """Whether the host serves a base URL, for agents that need it. Otherwise there is no TCP at all."""
    landlock_abi: int = 99
    """The newest version of Landlock to use: with it tests imitate older kernels."""
    seccomp: bool = True
    """Whether to use the filter of system calls, and a network of its own: tests imitate kernels without them."""

    @property
    def apart(self) -> bool:
        return self.mode != "none"


@dataclass(frozen=True)
class HostSetup:
    """What one host starts with."""

    scratch: str
    """Its folder, which is also its home."""
    agent: str
    """The folder of the agent file."""
    environment: dict[str, str]
    packages: list[str]
    """Installed packages that are worth importing once for all hosts."""


@dataclass(frozen=True)
class Ended:
    """How a host's process ended."""

    code: int
    """Its exit code, or the negative number of the signal that killed it."""
    peak_mb: int
    """The most memory that it used."""


class HostProcess:
    """The process of one host, as its worker sees it. The starter is its parent."""

    def __init__(self, starter: "HostStarter", pid: int) -> None:
        self.pid = pid
        self.starter = starter
        self._ended: Ended | None = None
        self._killed = False
        self._lock = threading.Lock()

    def kill(self) -> None:
        """End it, and all that is in its session. Its number stays reserved until the starter has reaped it."""
        with self._lock:
            if self._ended is None and not self._killed:
                self._killed = True
                for end in (os.killpg, os.kill):
                    with suppress(ProcessLookupError):  # it may have no session of its own yet
                        end(self.pid, signal.SIGKILL)
                self.starter.tell({"bury": self.pid})

    def wait(self, timeout_s: float = _LONGEST_END_S) -> Ended | None:
        """How it ended by itself; None if it did not, or if that is no longer known."""
        until = time.monotonic() + timeout_s
        while self._ended is None and not self._killed and self.starter.alive and time.monotonic() < until:
            with self._lock:
                self._ended = self._ended or self.starter.ask({"look": self.pid})
            if self._ended is None:
                time.sleep(0.01)
        return self._ended


class HostStarter:
    """Forks hosts, and reports how they ended. Its methods may be called from many threads."""

    def __init__(self, confinement: Confinement) -> None:
        """Raises HostFailed if the process does not come up."""
        self.confinement = confinement
        self._lock = threading.Lock()
        self._agents: dict[str, Path] = {}
        """The folders of agent files, by their source."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = _environment()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-s", "-B", str(_CHILD), str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    env=environment if confinement.apart else os.environ | environment,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
        except OSError as error:
            self._control.close()
            raise HostFailed(f"agent hosts cannot be started: {error}") from error
        try:
            self._control.settimeout(_LONGEST_START_S)
            self._control.send(json.dumps(self._setup()).encode())
            ready = json.loads(self._control.recv(_LONGEST_PACKET) or b'{"error": "it ended at once"}')
        except OSError as error:
            self.close()
            raise HostFailed(f"agent hosts cannot be started: {error}") from error
        if "error" in ready:
            self.close()
            raise HostFailed(f"agent hosts cannot be started: {ready['error']}")

    def folder_of(self, source: str) -> str:
        """The folder with a private copy of this agent file, for all hosts that run it. Raises OSError."""
        with self._lock:
            if source not in self._agents:
                folder = Path(tempfile.mkdtemp(dir=self.confinement.folder)) / "agent"
                folder.mkdir()
                (folder / "agent.py").write_bytes(source.encode())  # not write_text: line ends are part of its hash
                self._agents[source] = folder
            self._hide_age(self._agents[source])
            return str(self._agents[source])

    def _hide_age(self, agent: Path) -> None:
        """Set the times of the folders around a starting host to now.

        Otherwise it could see when the command began, when the vault was made, or when another part of us last needed
        a temporary folder, and so how far a night has come.
        """
        above = (self.confinement.folder, *self.confinement.folder.parents)[:4]
        temporary: list[Path] = []
        with suppress(OSError):  # there is none that can be written
            temporary.append(Path(tempfile.gettempdir()))
        for path in (agent / "agent.py", agent, agent.parent, *above, *temporary):
            with suppress(OSError):  # that one is somebody else's
                os.utime(path)

    def _setup(self) -> dict[str, Any]:
        confinement = self.confinement
        sandbox = {
            "folder": str(confinement.folder),
            "private": confinement.private,
            "memory_mb": confinement.memory_mb,
            "landlock_abi": confinement.landlock_abi,
            "seccomp": confinement.seccomp,
        }
        return {
            "base_url": confinement.base_url,
            "apart": confinement.apart,
            "sandbox": sandbox if confinement.mode == "sandbox" else None,
        }

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def start(self, setup: "HostSetup", channel: int, output: int) -> None:
        """Fork a host with these two descriptors. Its first message has its pid, or it closes the channel.

        Raises OSError.
        """
        with self._lock:
            socket.send_fds(self._control, [json.dumps(asdict(setup)).encode()], [channel, output])

    def tell(self, what: dict[str, int]) -> None:
        with self._lock, suppress(OSError):  # it is gone, and its hosts with it
            self._control.send(json.dumps(what).encode())

    def ask(self, question: dict[str, int]) -> Ended | None:
        """{"look": pid}: how that host ended; None if it has not, or the starter is gone.

        A starter that does not answer in time is killed, and its hosts with it: the next question would get its late
        answer.
        """
        with self._lock:
            try:
                self._control.send(json.dumps(question).encode())
                answer = json.loads(self._control.recv(_LONGEST_PACKET) or b"{}")
            except OSError:
                self._process.kill()
                self._control.close()
                return None
        return Ended(answer["code"], answer["peak_mb"]) if "code" in answer else None

    def close(self) -> None:
        """End the process, and every host with it."""
        self._control.close()
        try:
            self._process.wait(timeout=_LONGEST_END_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for folder in self._agents.values():
            remove_tree(folder.parent)


def _environment() -> dict[str, str]:
    """The environment of the starter and of each host: no key, and nothing that tells one run from another."""
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TZ") if name in os.environ}
    return kept | {
        "PATH": os.defpath,
        "PYTHONHASHSEED": "0",  # sets keep their order if a simulation has to be tried again
        "MALLOC_ARENA_MAX": "2",  # otherwise each thread would take 64 MB of the address space, which is limited
    }
