"""The agent host, seen from the worker: starts the child that runs `agent/agent.py`, talks to it, ends it.

What the child gets: a private copy of the one agent file, the tools as schemas, the policy, and the conversation as
it unfolds; in its environment AGENT_MODEL, AGENT_REASONING_EFFORT and nothing else of ours. It asks for chat
completions over the descriptor that it inherits.

Before it reads the agent's code the child confines itself (`sandbox`) and says which layers are in force. From here
it is watched (`watchdog`): what it cannot be kept from using up, it is ended for.

What this does not protect against: simulations that share a host share its memory and its scratch folder, and so
what the agent's code keeps there, the names by which it asks for completions too; `fresh_host: per_simulation` is for
that.
"""

import itertools
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoharness.channel import Channel, Message
from autoharness.errors import (
    AgentError,
    ChannelError,
    HostDied,
    HostFailed,
    InfrastructureError,
    MessageTooLong,
    ProviderError,
)
from autoharness.store import remove_tree
from autoharness.strict_json import check_depth, dumps
from autoharness.watchdog import Watchdog

_CHILD = Path(__file__).with_name("host_child.py")
_OUTPUT_TAIL_CHARS = 2000
_MOST_OUTPUT_BYTES = 64 * 1024 * 1024
_MOST_CHATS = 2000
_LONGEST_LINE_BYTES = 8 * 1024 * 1024
_MOST_WAITING_BYTES = 64 * 1024 * 1024
"""Of memory, for the requests of one simulation that are not answered yet."""
_LONGEST_SEND_S = 5
"""For a host that does not read what it is sent."""
_MOST_STRAY_CHATS = 100
"""In the name of no simulation that runs. One more for each that is over: an agent may leave a thread behind."""
_LONGEST_START_S = 60.0
_LONGEST_REPLY_BYTES = 100_000  # a whole conversation has to fit into one message to the door
_MOST_TOOL_CALLS = 100
"""Of one message: tau2 answers each of them in the worker."""
_DEEPEST_ARGUMENTS = 50  # far deeper ones break tau2's copying, which would look like tau2's own failure

Complete = Callable[[Message], Message]
"""Answers one chat completion request of one simulation. Raises AgentError to refuse it, else InfrastructureError."""


@dataclass(frozen=True)
class AgentFile:
    """The file under optimisation, as the run found it when it began."""

    source: str
    model: str
    reasoning_effort: str | None


@dataclass(frozen=True)
class Confinement:
    """How agent hosts are kept apart from everything else."""

    mode: str
    """"sandbox": confined by the kernel. "process": a process of its own that is watched. "none": not even that, and
    it has this process's environment."""
    folder: Path
    """Where each host gets a folder of its own while it lives."""
    private: tuple[str, ...] = ()
    """Folders that no rule may let it read, wherever they lie."""
    memory_mb: int = 2048
    base_url: bool = False
    """Whether the host serves one, for agents that need it; else there is no TCP at all."""
    landlock_abi: int = 99
    """The newest version of Landlock to use: tests have older kernels by it."""
    seccomp: bool = True
    """Whether to use the filter of system calls, and a network of its own: tests have kernels without them."""


class _Clock:
    """The time an agent's own code has used for one call; it stands still while the LLM is asked."""

    def __init__(self) -> None:
        self._spent_s = 0.0
        self._running_since: float | None = time.monotonic()
        self._pauses = 0

    def pause(self) -> None:
        self._spent_s, self._running_since = self.spent_s(), None
        self._pauses += 1

    def resume(self) -> None:
        self._pauses -= 1
        if not self._pauses:
            self._running_since = time.monotonic()

    def spent_s(self) -> float:
        running = time.monotonic() - self._running_since if self._running_since is not None else 0.0
        return self._spent_s + running

    @property
    def paused(self) -> bool:
        return self._running_since is None


@dataclass
class _Call:
    simulation: str
    clock: _Clock = field(default_factory=_Clock)
    answer: Message | None = None


class Host:
    """One agent host process. Its methods may be called from many threads, one for each simulation."""

    def __init__(self, agent: AgentFile, turn_timeout_s: float, confinement: Confinement) -> None:
        """Raises HostFailed where the process does not come up."""
        self._turn_timeout_s = turn_timeout_s
        self._confinement = confinement
        self._numbers = itertools.count()
        self._calls: dict[int, _Call] = {}
        self._changed = threading.Condition()
        self._completes: dict[str, Complete] = {}
        self._requests = self._chats = self._stray_chats = 0
        self._waiting_bytes: Counter[str] = Counter()
        self._over = 0
        self._own_code_s = 0.0
        self._spent_s: dict[str, float] = {}
        self._death = ""
        self._hung = False
        self._output = ""
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="agent-host-", dir=confinement.folder))
            self._scratch = self._folder / "scratch"
            self._channel, self._process = self._spawn(agent)
        except OSError as error:  # the disk is full, or there are too many processes
            raise HostFailed(f"the agent host did not start: {error}") from error
        self._output_reader = threading.Thread(target=self._read_output, daemon=True)
        self._output_reader.start()
        self.layers = self._set_up()
        """What confines the process: for each layer "" where it is in force, else why not."""
        threading.Thread(target=self._read_messages, daemon=True).start()
        if confinement.mode != "none":
            threading.Thread(target=self._watch, daemon=True).start()

    def call(self, simulation: str, call: str, complete: Complete, **arguments: Any) -> Any:
        """Have the agent's code run `call` ("start" or "next") for one simulation; returns its result.

        Raises AgentError with what the code raised, HostDied where the process ends or the code hangs, and
        InfrastructureError as raised by `complete`: then the LLM was out of reach, whatever the agent made of it.
        """
        failure: list[InfrastructureError] = []
        self._completes[simulation] = _remembering(complete, failure)
        number, pending = next(self._numbers), _Call(simulation)
        with self._changed:
            self._calls[number] = pending
            self._requests += 1
        try:
            self._send({"id": number, "call": call, "simulation": simulation, **arguments})
            answer = self._wait(pending)
        except HostDied:
            if failure:
                raise failure[0] from None
            raise
        finally:
            with self._changed:
                del self._calls[number]
                self._own_code_s += pending.clock.spent_s()
                self._spent_s[simulation] = self.own_code_s(simulation) + pending.clock.spent_s()
        if failure:
            raise failure[0]
        if "error" in answer:
            raise AgentError(_error_summary(answer["error"]))
        return answer.get("result")

    def own_code_s(self, simulation: str) -> float:
        """The time that its agent's own code has used so far, in calls that are over."""
        return self._spent_s.get(simulation, 0.0)

    def forget(self, simulation: str) -> None:
        """The simulation is over: its agent is dropped, and what still asks in its name is refused."""
        self._over += 1
        self._completes.pop(simulation, None)
        self._spent_s.pop(simulation, None)
        with suppress(HostDied):
            self._send({"id": -1, "call": "stop", "simulation": simulation})

    @property
    def alive(self) -> bool:
        return not self._death

    def close(self) -> None:
        """End the process and all that it started, and remove its folder."""
        self._die("closed")
        remove_tree(self._folder)

    def _spawn(self, agent: AgentFile) -> tuple[Channel, subprocess.Popen[bytes]]:
        self._scratch.mkdir()
        self._agent_file.parent.mkdir()
        self._agent_file.write_bytes(agent.source.encode())  # not write_text: line ends are part of its hash
        own = _environment(agent, self._scratch)
        apart = self._confinement.mode != "none"
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I" if apart else "-P", "-B", str(_CHILD), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=self._scratch if apart else None,
                env=own if apart else os.environ | own,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", _LONGEST_SEND_S, 0))
        return Channel(ours, _LONGEST_LINE_BYTES, _MOST_WAITING_BYTES), process

    @property
    def _agent_file(self) -> Path:
        return self._folder / "agent" / "agent.py"

    def _set_up(self) -> dict[str, str]:
        """Have the child confine itself, before it reads the agent's code."""
        sandbox = {
            "agent_folder": str(self._agent_file.parent),
            "scratch": str(self._scratch),
            "private": self._confinement.private,
            "memory_mb": self._confinement.memory_mb,
            "landlock_abi": self._confinement.landlock_abi,
            "seccomp": self._confinement.seccomp,
        }
        confined = self._confinement.mode == "sandbox"
        late = threading.Timer(_LONGEST_START_S, self._die, [f"no answer within {_LONGEST_START_S:g} s"])
        late.start()
        try:
            setup = {"agent_file": str(self._agent_file), "base_url": self._confinement.base_url}
            self._channel.send(setup | {"sandbox": sandbox if confined else None})
            first = self._channel.receive()
        except ChannelError:
            first = None
        late.cancel()
        if first is None:
            self._die(self._epitaph())
            remove_tree(self._folder)
            raise HostFailed(f"the agent host did not start: {self._death}")
        layers: dict[str, str] = first["layers"]
        return layers

    def _send(self, message: Message) -> None:
        try:
            self._channel.send(message)
        except ChannelError as error:
            deaf = isinstance(error.__cause__, BlockingIOError)  # the send timed out
            self._die("the agent host does not read what it is sent" if deaf else self._epitaph())
            raise HostDied(self._death, self._hung) from None
        except MessageTooLong as error:  # what the agent's calls were answered
            raise AgentError(str(error)) from None

    def _wait(self, call: _Call) -> Message:
        with self._changed:
            while call.answer is None:
                if self._death:
                    raise HostDied(self._death, self._hung)
                left_s = self._turn_timeout_s - call.clock.spent_s()
                if left_s <= 0:
                    break
                self._changed.wait(None if call.clock.paused else left_s)
            else:
                return call.answer
        self._hung = True
        self._die(f"the agent's own code took over {self._turn_timeout_s:g} s for one turn (agent_timeout_s)")
        raise HostDied(self._death, self._hung)

    def _read_messages(self) -> None:
        """Runs on a thread of its own until the channel ends."""
        try:
            while (message := self._channel.receive()) is not None:
                self._take(message)
            self._die(self._epitaph())
        except (ChannelError, KeyError, TypeError, AttributeError, RuntimeError) as error:  # one: no thread is left
            self._die(f"the agent host sent what is no message, or too many: {error}")

    def _take(self, message: Message) -> None:
        if "chat" in message:
            number, simulation, request = message["chat"], message["simulation"], message["request"]
            complete, memory = self._completes.get(simulation, _refuse), self._channel.memory
            self._stray_chats += complete is _refuse
            if self._chats >= _MOST_CHATS or self._stray_chats > _MOST_STRAY_CHATS + self._over:
                raise ChannelError("too many requests at once, or in the name of no simulation that runs")
            with self._changed:
                self._chats += 1
                self._requests += 1
                self._waiting_bytes[simulation] += memory
            if self._waiting_bytes[simulation] > _MOST_WAITING_BYTES:
                raise ChannelError(f"requests of one simulation that take over {_MOST_WAITING_BYTES} bytes of memory")
            arguments = number, simulation, complete, request, memory
            threading.Thread(target=self._chat, args=arguments, daemon=True).start()
            return
        with self._changed:
            call = self._calls.get(message["id"])
            if call is None or call.answer is not None:
                raise ChannelError("an answer to what was not asked")
            call.answer = message
            self._changed.notify_all()

    def _chat(self, number: int, simulation: str, complete: Complete, request: Message, memory: int) -> None:
        clocks = [call.clock for call in list(self._calls.values()) if call.simulation == simulation]
        self._each(clocks, _Clock.pause)
        try:
            answer: Message = {"response": complete(request)}
        except AgentError as error:
            answer = {"refused": str(error)}
        except InfrastructureError as error:
            answer = {"aborted": str(error)}
        finally:
            self._each(clocks, _Clock.resume)
            with self._changed:
                self._chats -= 1
                self._waiting_bytes[simulation] -= memory
                if not self._waiting_bytes[simulation]:
                    del self._waiting_bytes[simulation]
        with suppress(HostDied):
            self._send({"chat": number, **answer})

    def _each(self, clocks: list[_Clock], change: Callable[[_Clock], None]) -> None:
        with self._changed:
            for clock in clocks:
                change(clock)
            self._changed.notify_all()

    def _read_output(self) -> None:
        """What the agent's code prints goes nowhere; its end is kept, to explain a death."""
        assert self._process.stdout
        with self._process.stdout as output:
            total = 0
            while chunk := os.read(output.fileno(), 65536):
                self._output = (self._output + chunk.decode(errors="replace"))[-_OUTPUT_TAIL_CHARS:]
                total += len(chunk)
                if total > _MOST_OUTPUT_BYTES:
                    self._die(f"the agent's code printed over {_MOST_OUTPUT_BYTES} bytes")
                    return

    def _watch(self) -> None:
        """Runs on a thread of its own while the process lives."""
        watchdog = Watchdog(self._process.pid, self._scratch, self._confinement.memory_mb)
        while not self._death:
            with self._changed:
                running_s = sum(call.clock.spent_s() for call in self._calls.values())
                own_code_s = self._own_code_s + running_s
            complaint = watchdog.complaint(own_code_s, self._requests)
            if complaint:
                self._die(f"the agent's code {complaint}")
            time.sleep(watchdog.INTERVAL_S)

    def _epitaph(self) -> str:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "the agent host closed its channel"
        self._output_reader.join(timeout=1)  # its last words may be on their way; a grandchild may hold the pipe
        how = f"signal {_signal_name(-code)}" if code < 0 else f"exit code {code}"
        last = self._output.strip().splitlines()[-1:]
        return f"the agent host ended ({how})" + "".join(f": {line[:300]}" for line in last)

    def _die(self, reason: str) -> None:
        with self._changed:
            if self._death:
                return
            self._death = reason
            self._changed.notify_all()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._channel.close()
        self._process.wait()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return str(number)


def checked_reply(reply: Any) -> Message:
    """What the host says the agent answered, as {"content": str | None, "tool_calls": [{"id", "name", "arguments"}]}.

    Raises AgentError where that is no valid message.
    """
    if not isinstance(reply, dict) or not isinstance(reply.get("tool_calls"), list):
        raise AgentError("the agent returned what is no message")
    content, calls = reply.get("content"), reply["tool_calls"]
    if not (content is None or isinstance(content, str)):
        raise AgentError(f"the agent returned content that is no text: {content!r:.80}")
    if not calls and not (content and content.strip()):
        raise AgentError("the agent returned an empty message: neither text nor tool calls")
    if len(calls) > _MOST_TOOL_CALLS:
        raise AgentError(f"the agent returned a message with over {_MOST_TOOL_CALLS} tool calls")
    checked = {"content": content, "tool_calls": [_checked_call(call) for call in calls]}
    if len(dumps(checked)) > _LONGEST_REPLY_BYTES:
        raise AgentError(f"the agent returned a message of over {_LONGEST_REPLY_BYTES} bytes")
    return checked


def _checked_call(call: Any) -> Message:
    if not (isinstance(call, dict) and isinstance(call.get("name"), str) and isinstance(call.get("id"), str)):
        raise AgentError(f"the agent returned a tool call without name or id: {call!r:.80}")
    if not isinstance(call.get("arguments"), dict):
        raise AgentError(f"the agent called {call['name']:.40} with arguments that are no dictionary")
    try:
        check_depth(call["arguments"], _DEEPEST_ARGUMENTS)
    except ValueError as error:
        raise AgentError(f"the agent called {call['name']:.40} with arguments {error}") from error
    return {key: call[key] for key in ("id", "name", "arguments")}


def _environment(agent: AgentFile, scratch: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TZ") if name in os.environ}
    return kept | {
        "AGENT_MODEL": agent.model,
        "AGENT_REASONING_EFFORT": agent.reasoning_effort or "",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "PATH": os.defpath,
        "MALLOC_ARENA_MAX": "2",  # or each thread would take 64 MB of the address space that it is limited to
    }


def _refuse(request: Message) -> Message:
    raise AgentError("no such simulation is running")


def _remembering(complete: Complete, failure: list[InfrastructureError]) -> Complete:
    """An infrastructure failure decides the simulation, even where the agent's code swallows it."""

    def complete_and_remember(request: Message) -> Message:
        try:
            return complete(request)
        except AgentError:
            raise
        except InfrastructureError as error:
            failure.append(error)
            raise
        except Exception as error:  # a bug of ours must neither score nor leave the agent waiting
            traceback.print_exc()
            failure.append(ProviderError(f"bug in auto-harness: {error!r}", retryable=False))
            raise failure[-1] from error

    return complete_and_remember


def _error_summary(error: Any) -> str:
    if isinstance(error, dict) and isinstance(error.get("summary"), str):
        return str(error["summary"][:500])
    return "the agent host reported an error that makes no sense"
