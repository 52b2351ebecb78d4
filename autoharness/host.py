"""The agent host, seen from the worker: starts the child that runs `agent/agent.py`, talks to it, ends it.

What the child gets: a private copy of the one agent file, the tools as schemas, the policy, and the conversation as
it unfolds; in its environment AGENT_MODEL, AGENT_REASONING_EFFORT and nothing else of ours. It asks for chat
completions over the descriptor that it inherits.

What this does not protect against yet: the child is an ordinary process of the same user, so it can read files and
open sockets. Confinement by the kernel belongs to `sandbox`.
"""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoharness.channel import Channel, Message
from autoharness.errors import AgentError, ChannelError, HostDied, InfrastructureError, ProviderError
from autoharness.strict_json import check_depth, dumps

_CHILD = Path(__file__).with_name("host_child.py")
_OUTPUT_TAIL_CHARS = 2000
_MOST_CHATS = 2000
_LONGEST_REPLY_BYTES = 100_000  # a whole conversation has to fit into one message to the door
_DEEPEST_ARGUMENTS = 50  # far deeper ones break tau2's copying, which would look like tau2's own failure

Complete = Callable[[Message], Message]
"""Answers one chat completion request of one simulation. Raises AgentError to refuse it, else InfrastructureError."""


@dataclass(frozen=True)
class AgentFile:
    """The file under optimisation, as the run found it when it began."""

    source: str
    model: str
    reasoning_effort: str | None


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

    def __init__(self, agent: AgentFile, turn_timeout_s: float) -> None:
        self._turn_timeout_s = turn_timeout_s
        self._numbers = itertools.count()
        self._calls: dict[int, _Call] = {}
        self._changed = threading.Condition()
        self._completes: dict[str, Complete] = {}
        self._chats = 0
        self._death = ""
        self._hung = False
        self._output = ""
        self._scratch = Path(tempfile.mkdtemp(prefix="agent-host-"))
        self._channel, self._process = self._spawn(agent)
        self._output_reader = threading.Thread(target=self._read_output, daemon=True)
        self._output_reader.start()
        threading.Thread(target=self._read_messages, daemon=True).start()

    def call(self, simulation: str, call: str, complete: Complete, **arguments: Any) -> Any:
        """Have the agent's code run `call` ("start" or "next") for one simulation; returns its result.

        Raises AgentError with what the code raised, HostDied where the process ends or the code hangs, and
        InfrastructureError as raised by `complete`: then the LLM was out of reach, whatever the agent made of it.
        """
        failure: list[InfrastructureError] = []
        self._completes[simulation] = _remembering(complete, failure)
        number, pending = next(self._numbers), _Call(simulation)
        self._calls[number] = pending
        try:
            self._send({"id": number, "call": call, "simulation": simulation, **arguments})
            answer = self._wait(pending)
        except HostDied:
            if failure:
                raise failure[0] from None
            raise
        finally:
            del self._calls[number]
        if failure:
            raise failure[0]
        if "error" in answer:
            raise AgentError(_error_summary(answer["error"]))
        return answer.get("result")

    def forget(self, simulation: str) -> None:
        """The simulation is over: its agent is dropped, and what still asks in its name is refused."""
        self._completes.pop(simulation, None)
        with suppress(ChannelError):
            self._channel.send({"id": -1, "call": "stop", "simulation": simulation})

    @property
    def alive(self) -> bool:
        return not self._death

    def close(self) -> None:
        """End the process and all that it started, and remove its scratch folder."""
        self._die("closed")
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _spawn(self, agent: AgentFile) -> tuple[Channel, subprocess.Popen[bytes]]:
        agent_file = self._scratch / "agent.py"
        agent_file.write_text(agent.source, encoding="utf-8")
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-B", str(_CHILD), str(theirs.fileno()), str(agent_file)],
                pass_fds=[theirs.fileno()],
                cwd=self._scratch,
                env=_environment(agent, self._scratch),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Channel(ours), process

    def _send(self, message: Message) -> None:
        try:
            self._channel.send(message)
        except ChannelError:
            self._die(self._epitaph())
            raise HostDied(self._death, self._hung) from None

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
        except (ChannelError, KeyError, TypeError, AttributeError) as error:
            self._die(f"the agent host sent what is no message: {error}")

    def _take(self, message: Message) -> None:
        if "chat" in message:
            if self._chats >= _MOST_CHATS:
                raise ChannelError(f"over {_MOST_CHATS} requests at once")
            with self._changed:
                self._chats += 1
            number, simulation, request = message["chat"], message["simulation"], message["request"]
            complete = self._completes.get(simulation, _refuse)
            threading.Thread(target=self._chat, args=(number, simulation, complete, request), daemon=True).start()
            return
        with self._changed:
            call = self._calls.get(message["id"])
            if call:
                call.answer = message
                self._changed.notify_all()

    def _chat(self, number: int, simulation: str, complete: Complete, request: Message) -> None:
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
        with suppress(ChannelError):  # the reader thread learns of the death and says so
            self._channel.send({"chat": number, **answer})

    def _each(self, clocks: list[_Clock], change: Callable[[_Clock], None]) -> None:
        with self._changed:
            for clock in clocks:
                change(clock)
            self._changed.notify_all()

    def _read_output(self) -> None:
        """What the agent's code prints goes nowhere; its end is kept, to explain a death."""
        assert self._process.stdout
        with self._process.stdout as output:
            while chunk := os.read(output.fileno(), 65536):
                self._output = (self._output + chunk.decode(errors="replace"))[-_OUTPUT_TAIL_CHARS:]

    def _epitaph(self) -> str:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "the agent host closed its channel"
        self._output_reader.join(timeout=1)  # its last words may be on their way; a grandchild may hold the pipe
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
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
