"""One agent host, seen from the worker: the process that runs `agent/agent.py` for one simulation.

What it gets: a private copy of the one agent file, the tools as schemas, the policy, and the conversation as it
unfolds; in its environment AGENT_MODEL, AGENT_REASONING_EFFORT, HOME and TMPDIR (its folder), and nothing else of
ours; with `isolation: none` all of the worker's environment. It asks for chat completions over the descriptor that it
inherits.

Before it reads the agent's code the child confines itself (`sandbox`) and says which layers are in force. This side
watches it (`watchdog`), and ends it if it uses up what the kernel does not limit. Only one simulation runs in it, so
its end is the agent's own failure, unless somebody else killed it.
"""

import itertools
import os
import re
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoharness.core.channel import Channel, Message
from autoharness.core.errors import (
    AgentError,
    ChannelError,
    HostDied,
    HostFailed,
    HostKilled,
    InfrastructureError,
    MessageTooLong,
    ProviderError,
    UserError,
)
from autoharness.core.exhausted import is_of_a_disk, mended_by_a_person
from autoharness.core.files import remove_tree
from autoharness.host.starter import Ended, HostProcess, HostSetup, HostStarter
from autoharness.host.watchdog import Watchdog

_OUTPUT_TAIL_CHARS = 2000
_LONGEST_LINE_BYTES = 8 * 1024 * 1024
_MOST_MESSAGE_BYTES = 64 * 1024 * 1024
"""What one message of the host may take of this process's memory."""
_LONGEST_SEND_S = 5
"""Time limit of a send, for a host that does not read what it is sent."""
_LONGEST_START_S = 60.0
_LONGEST_EXIT_S = 0.2
_MOST_INNOCENT_MB = 256
"""A host that was killed while it used more than this brought it on itself: the machine had no memory left."""
_OPENAI = (
    "openai.resources.chat.completions.completions",
    "openai.lib.streaming.chat",
    "jiter",
    "httpx",
    "httpcore2._async",
)
_WARM_PACKAGES: dict[str, tuple[str, ...]] = {
    "openai": _OPENAI,
    "httpx": ("httpcore",),
    "pydantic": (),
    "agent_framework": ("agent_framework._agents", "agent_framework_openai._chat_completion_client", *_OPENAI),
    "langgraph": ("langgraph.graph", "langgraph.pregel"),
    "langchain_core": ("langchain_core.tracers.stdout", "langchain_core.tracers.run_collector", "anyio.streams.tls"),
    "langchain_openai": ("langchain_openai.chat_models.base", *_OPENAI),
}
"""Packages of the agent templates that take long to import, and what they import at their first use."""
_IMPORT = re.compile(r"^[ \t]*(?:import|from)[ \t]+([A-Za-z_][A-Za-z_0-9.]*)", re.MULTILINE)

Complete = Callable[[Message], Message]
"""Answers one chat completion request of the agent. Raises AgentError to refuse it, otherwise InfrastructureError."""


@dataclass(frozen=True)
class AgentFile:
    """The agent file as the run found it when it began."""

    source: str
    model: str
    reasoning_effort: str | None

    @property
    def packages(self) -> list[str]:
        """The packages it seems to import that are worth importing once, before hosts are forked."""
        found = {name for name in _IMPORT.findall(self.source) if name.partition(".")[0] in _WARM_PACKAGES}
        return sorted(found.union(*(_WARM_PACKAGES[name.partition(".")[0]] for name in found)))


class Host:
    """One agent host process. One thread calls it; any thread may end it."""

    def __init__(self, starter: HostStarter, agent: AgentFile, turn_timeout_s: float) -> None:
        """Raises HostFailed if the process does not come up, UserError if the disk is full."""
        self._turn_timeout_s = turn_timeout_s
        self._numbers = itertools.count()
        self._requests = 0
        self._own_code_s = self._turn_begun_s = 0.0
        self._at_work_since: float | None = None
        self._death = ""
        self._hung = False
        self._killed: Ended | None = None
        self._ending = threading.Lock()
        self._scratch, self._output = Path(), -1
        try:
            self._scratch = Path(tempfile.mkdtemp(dir=starter.confinement.folder))
            self._start(starter, agent)
        except OSError as error:  # the disk is full, or there are too many open files
            self._tidy_up()
            if is_of_a_disk(error):
                raise mended_by_a_person(error, starter.confinement.folder) from error
            raise HostFailed(f"the agent host did not start: {error}") from error
        first = self._first_message()
        self._process = HostProcess(starter, first["pid"])
        self.layers: dict[str, str] = first["layers"]
        """What confines the process: for each layer "" if it is in force, otherwise why not."""
        self._watchdog = Watchdog(self._process.pid, self._scratch, starter.confinement.memory_mb)

    def _start(self, starter: HostStarter, agent: AgentFile) -> None:
        environment = {
            "AGENT_MODEL": agent.model,
            "AGENT_REASONING_EFFORT": agent.reasoning_effort or "",
            "HOME": str(self._scratch),
            "TMPDIR": str(self._scratch),
        }
        self._output = _memory_file()
        ours, theirs = socket.socketpair()
        with theirs:
            setup = HostSetup(str(self._scratch), starter.folder_of(agent.source), environment, agent.packages)
            starter.start(setup, theirs.fileno(), self._output)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", _LONGEST_SEND_S, 0))
        self._channel = Channel(ours, _LONGEST_LINE_BYTES, _MOST_MESSAGE_BYTES)

    def _first_message(self) -> Message:
        """Wait for the child to confine itself, before it reads the agent's code. Raises HostFailed."""
        try:
            first = self._channel.receive(_LONGEST_START_S)
        except (ChannelError, TimeoutError):
            first = None
        if first is None:
            last = "".join(f": {line[:300]}" for line in self._last_words())
            self._channel.close()
            self._tidy_up()
            raise HostFailed(f"the agent host did not start{last}")
        return first

    def call(self, call: str, complete: Complete, **arguments: Any) -> Any:
        """Have the agent's code run `call` ("start" or "next"); returns its result.

        Raises AgentError with what the code raised, HostDied if the process ends or the code hangs, HostKilled if
        somebody else ended it, and InfrastructureError if `complete` raised it: then the LLM was out of reach,
        whatever the agent made of it.
        """
        number, failure = next(self._numbers), _Failure()
        self._requests += 1
        self._turn_begun_s = self._own_code_s
        try:
            self._send({"id": number, "call": call, **arguments})
            while "chat" in (message := self._receive()):
                self._send(self._answered(message, failure.remembering(complete)))
            self._check(message, number)
        except HostDied:
            failure.decide()
            raise
        failure.decide()
        if "error" in message:
            raise AgentError(_error_summary(message["error"]))
        return message.get("result")

    @property
    def own_code_s(self) -> float:
        """The time that the agent's own code has used so far; waiting for the LLM does not count."""
        since = self._at_work_since
        return self._own_code_s + (time.monotonic() - since if since is not None else 0.0)

    def look(self) -> None:
        """End it if it uses too much of something. Called every few moments, while it is open."""
        complaint = self._watchdog.complaint(self.own_code_s, self._requests)
        if complaint and not self._process.wait(_LONGEST_EXIT_S):  # a process that is just ending shows odd values
            self._end(f"the agent's code {complaint}")

    @property
    def alive(self) -> bool:
        return not self._death

    def close(self) -> None:
        """End the process and everything that it started, and remove its folder."""
        self._end("closed")
        self._tidy_up()

    def _tidy_up(self) -> None:
        with self._ending:
            if self._output >= 0:
                os.close(self._output)
                self._output = -1
        if self._scratch.name:
            try:
                self._scratch.rmdir()
            except OSError:  # it wrote something
                remove_tree(self._scratch)

    def _send(self, message: Message) -> None:
        try:
            self._channel.send(message)
        except ChannelError as error:
            deaf = isinstance(error.__cause__, BlockingIOError)  # the send timed out
            self._end("the agent host does not read what it is sent" if deaf else self._epitaph())
            raise self._how_it_died() from None
        except MessageTooLong as error:  # what the agent's calls were answered
            raise AgentError(str(error)) from None

    def _receive(self) -> Message:
        """The host's next message. The time until it comes is the agent's own code's."""
        left_s = self._turn_timeout_s - (self._own_code_s - self._turn_begun_s)
        self._at_work_since = time.monotonic()
        try:
            message = self._channel.receive(left_s)
            if message is None:
                self._end(self._epitaph())
                raise self._how_it_died()
            self._requests += 1
            return message
        except TimeoutError:
            self._hung = True
            self._end(f"the agent's own code took over {self._turn_timeout_s:g} s for one turn (agent_timeout_s)")
            raise self._how_it_died() from None
        except ChannelError as error:
            self._end(f"the agent host sent what is no message: {error}")
            raise self._how_it_died() from None
        finally:
            self._own_code_s, self._at_work_since = self.own_code_s, None

    def _answered(self, message: Message, complete: Complete) -> Message:
        try:
            number, request = message["chat"], message["request"]
            answer: Message = {"response": complete(request)}
        except KeyError:
            self._end("the agent host sent what is no message: a request without its parts")
            raise self._how_it_died() from None
        except AgentError as error:
            answer = {"refused": str(error)}
        except InfrastructureError as error:
            answer = {"aborted": str(error)}
        return {"chat": number, **answer}

    def _check(self, message: Message, number: int) -> None:
        if message.get("id") != number:
            self._end("the agent host sent what is no message: an answer to what was not asked")
            raise self._how_it_died()

    def _how_it_died(self) -> HostDied | HostKilled:
        """An end by SIGKILL is somebody else's doing if the filter is in force: then a host cannot do that to itself.

        Without the filter nobody can tell, and an agent could end its host rather than fail.
        """
        filtered = self.layers.get("calls") == ""
        if self._killed and filtered and self._killed.peak_mb <= _MOST_INNOCENT_MB:
            return HostKilled(self._death)
        return HostDied(self._death, self._hung)

    def _epitaph(self) -> str:
        ended = self._process.wait()
        if ended is None and not self._process.starter.alive:  # something ended it, and all its hosts
            self._killed = Ended(-signal.SIGKILL, 0)
            return "what starts agent hosts was killed"
        if ended is None:
            return "the agent host closed its channel"
        if ended.code == -signal.SIGKILL and not self._death:
            self._killed = ended
            return f"the agent host was killed (SIGKILL), with {ended.peak_mb} MB of memory"
        how = f"signal {_signal_name(-ended.code)}" if ended.code < 0 else f"exit code {ended.code}"
        return f"the agent host ended ({how})" + "".join(f": {line[:300]}" for line in self._last_words())

    def _last_words(self) -> list[str]:
        """The last line that the agent's code printed: nobody else sees its output, and it explains a death."""
        with suppress(OSError):
            begin = max(0, os.fstat(self._output).st_size - _OUTPUT_TAIL_CHARS)
            last = os.pread(self._output, _OUTPUT_TAIL_CHARS, begin)
            return last.decode(errors="replace").strip().splitlines()[-1:]
        return []

    def _end(self, reason: str) -> None:
        with self._ending:
            if self._death:
                return
            self._death = reason
        self._process.kill()
        self._channel.close()


def _memory_file() -> int:
    """A descriptor of a file without a name, on no disk. Its size is limited like any file of the host."""
    if sys.platform == "linux":
        return os.memfd_create("output")
    descriptor, name = tempfile.mkstemp()
    os.unlink(name)  # noqa: PTH108
    return descriptor


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return str(number)


class _Failure:
    """An infrastructure failure decides the simulation, even if the agent's code swallows it."""

    def __init__(self) -> None:
        self._first: InfrastructureError | None = None

    def decide(self) -> None:
        if self._first:
            raise self._first from None

    def remembering(self, complete: Complete) -> Complete:
        def complete_and_remember(request: Message) -> Message:
            try:
                return complete(request)
            except (AgentError, UserError):
                raise
            except InfrastructureError as error:
                self._first = self._first or error
                raise
            except Exception as error:  # a bug of ours must neither score nor leave the agent waiting
                traceback.print_exc()
                self._first = ProviderError(f"bug in auto-harness: {error!r}", retryable=False)
                raise self._first from error

        return complete_and_remember


def _error_summary(error: Any) -> str:
    if isinstance(error, dict) and isinstance(error.get("summary"), str):
        return str(error["summary"][:500])
    return "the agent host reported an error that makes no sense"
