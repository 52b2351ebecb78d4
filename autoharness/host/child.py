"""The process that forks agent hosts, and what each host runs then. Spawned by `starter.py`, never imported.

    python -P -s -B child.py DESCRIPTOR

The starter, over packets:
In:  {"base_url", "apart", "sandbox": None or what `sandbox.Library` takes}     first of all
     a HostSetup, with two descriptors: channel and output          {"look": pid}   {"bury": pid}
Out: {"error": why there will be no host} or {}                     first of all
     {"code", "peak_mb"} or {}: how the process that was asked about has ended

A host, over its channel:
In:  {"id", "call": "start" | "next", ...}                     {"chat", "response" | "refused" | "aborted"}
Out: {"pid", "layers": what confines this process}     first of all
     {"id", "result" | "error"}                                {"chat", "request"}

The agent's code runs on its own thread, so that the LLM's answers can come in meanwhile.
"""

import ctypes
import errno
import gc
import importlib
import importlib.util
import itertools
import json
import os
import queue
import random
import secrets
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGE = Path(__file__).resolve().parents[1]


def _load(name: str, path: Path) -> ModuleType:
    """Import one file under `name`. The folder it lies in stays off sys.path."""
    folder = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=folder)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_prefix, sys.pycache_prefix = sys.pycache_prefix, __file__  # no folder: `import_finder` comes from its source too
_load("autoharness", _PACKAGE / "__init__.py")
sys.pycache_prefix = _prefix

from autoharness import agent_api  # noqa: E402  (found through the package loaded above)
from autoharness.core.channel import Channel, Message, connect  # noqa: E402
from autoharness.core.errors import ChannelError, TooManyLayers  # noqa: E402
from autoharness.host import sandbox, tau2_standin  # noqa: E402  (found through the package loaded above)

_STACK_BYTES = 2 * 1024 * 1024
"""A thread's stack. Many threads may wait for their LLM at once, and each stack counts as memory of this process."""
_LONGEST_PACKET = 65536
_PR_SET_PDEATHSIG = 1
_LIBRARY = ctypes.CDLL(None)
_STARTER = os.getpid()
"""Process id of the starter, from before the fork."""


class Starter:
    """Forks hosts until its socket closes. It has one thread, and runs nothing of an agent's."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._setup: Message = {}
        self._library: sandbox.Library | None = None

    def serve(self) -> None:
        """Returns at the end in the starter, never in a host."""
        packet = self._control.recv(_LONGEST_PACKET)
        if not packet:
            return
        self._setup = json.loads(packet)
        try:
            if self._setup["sandbox"]:
                self._library = sandbox.Library(self._setup["sandbox"])
        except OSError as error:
            self._answer({"error": str(error)})
            return
        tau2_standin.install()
        gc.collect()
        gc.freeze()  # otherwise the first collection in each host would copy what they share
        self._answer({})
        while True:
            packet, descriptors, _, _ = socket.recv_fds(self._control, _LONGEST_PACKET, 2)
            if not packet:
                return
            request = json.loads(packet)
            if "look" in request:
                self._answer(_ended(request["look"], os.WNOHANG))
            elif "bury" in request:
                _ended(request["bury"], 0)
            else:
                self._start(request, descriptors)

    def _start(self, setup: Message, descriptors: list[int]) -> None:
        """Fork a host. If there is none, the worker sees that the channel is closed."""
        try:
            for package in setup["packages"]:
                with suppress(Exception):  # the agent file finds out for itself
                    importlib.import_module(package)
            if len(descriptors) == 2 and not os.fork():
                self._be_a_host(setup, *descriptors)
        except OSError as error:
            with suppress(OSError):  # the log may lie on a full disk
                print(f"no agent host: {error}", file=sys.stderr, flush=True)
        for descriptor in descriptors:
            os.close(descriptor)

    def _be_a_host(self, setup: Message, channel: int, output: int) -> None:
        """Does not return."""
        try:
            self._control.close()
            sys.argv[1:] = [str(channel)]
            _be_on_its_own(setup, output, self._setup["apart"])
            run_host(connect(channel), setup, self._setup, self._library)
        except TooManyLayers as reason:
            print(reason, flush=True)
        except BaseException:
            traceback.print_exc()
        os._exit(1)

    def _answer(self, answer: Message) -> None:
        with suppress(OSError):  # the worker is gone, and so are we
            self._control.send(json.dumps(answer).encode())


def _ended(pid: int, options: int) -> Message:
    try:
        ended, status, usage = os.wait4(pid, options)
    except ChildProcessError:
        return {}
    return {"code": os.waitstatus_to_exitcode(status), "peak_mb": usage.ru_maxrss // 1024} if ended else {}


def _be_on_its_own(setup: Message, output: int, apart: bool) -> None:
    """A fork of the starter gets a session, an environment and a working folder of its own, and ends with it."""
    os.setsid()
    if sys.platform == "linux":
        _LIBRARY.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != _STARTER:  # the starter died just before
            os._exit(1)
        with suppress(OSError):
            score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
            os.write(score, b"1000")  # the kernel ends this process before its worker
            os.close(score)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.update(setup["environment"])
    if apart:
        os.chdir(setup["scratch"])


class Gateway:
    """Sends chat completion requests out through the channel; hands each answer to the thread that waits for it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._numbers = itertools.count()
        self._waiting: dict[int, queue.SimpleQueue[Message]] = {}

    def complete(self, request: Message) -> Message:
        number = next(self._numbers)
        answers: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._waiting[number] = answers
        self._channel.send({"chat": number, "request": request})
        answer = answers.get()
        if "aborted" in answer:
            raise agent_api.SimulationAborted(answer["aborted"])
        if "refused" in answer:
            raise agent_api.RequestRefused(answer["refused"])
        response: Message = answer["response"]
        return response

    def deliver(self, answer: Message) -> None:
        self._waiting.pop(answer["chat"]).put(answer)


class Host:
    """The agent in this process."""

    def __init__(self, agent_file: Path) -> None:
        self._agent_file = agent_file
        self._agent: Any = None
        self._state: Any = None
        self._turns = 0

    def start(self, call: Message) -> None:
        random.seed(call["random"])  # a simulation that has to be tried again draws what it drew
        tools = [agent_api.Tool(schema) for schema in call["tools"]]
        self._agent = _load("agent.agent", self._agent_file).HarnessAgent(
            tools=tools, domain_policy=call["domain_policy"], llm=call["llm"], llm_args=call["llm_args"]
        )
        history = [agent_api._from_wire(message) for message in call["history"]]
        self._state = self._agent.get_init_state(message_history=history)

    def next(self, call: Message) -> Message:
        answer = self._agent.generate_next_message(agent_api._from_wire(call["message"]), self._state)
        if not (isinstance(answer, tuple) and len(answer) == 2):
            raise TypeError(f"generate_next_message must return (AssistantMessage, state), not {_kind(answer)}")
        message, self._state = answer
        self._turns += 1
        return _to_wire(message, self._turns)


def _to_wire(message: Any, turn: int) -> Message:
    if not isinstance(message, agent_api.AssistantMessage):
        raise TypeError(f"generate_next_message must return an AssistantMessage, not {_kind(message)}")
    calls = message.tool_calls or []
    for number, call in enumerate(calls):
        call.id = call.id or f"call_{turn}_{number}"  # the same in every run: so a repeated trial costs nothing
    wire = [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in calls]
    return {"content": message.content, "tool_calls": wire}


def _kind(value: Any) -> str:
    return f"{type(value).__name__}: {value!r:.80}"


def _answer_all(channel: Channel, host: Host, calls: "queue.SimpleQueue[Message]") -> None:
    while True:
        _answer(channel, host, calls.get())


def _answer(channel: Channel, host: Host, call: Message) -> None:
    """Run one call of the agent's code. Whatever that code raises becomes the answer."""
    try:
        channel.send({"id": call["id"], "result": getattr(host, call["call"])(call)})
    except ChannelError:
        os._exit(0)
    except BaseException as error:  # also SystemExit: the agent's code may raise anything
        if what := _used_up(error):  # there may be none left to say so in the channel
            print(f"out of {what}: {_describe(error)['summary']}", file=sys.stderr, flush=True)
            os._exit(1)
        channel.send({"id": call["id"], "error": _describe(error)})


def _used_up(error: BaseException) -> str:
    """What has run out, files or memory; "" for another error."""
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return "files"
    return "memory" if isinstance(error, MemoryError) else ""


def _describe(error: BaseException) -> Message:
    """The error in one line, with its place in the agent file."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith("agent.py")]
    place = f"agent.py:{frames[-1].lineno}: " if frames else ""
    described = traceback.TracebackException(type(error), error, None)
    described.__notes__ = None  # a framework's words about itself come last, and say less
    summary = " ".join(list(described.format_exception_only())[-1].split())
    return {"summary": f"{place}{summary}"[:500].encode(errors="backslashreplace").decode()}


def _serve_base_url(gateway: Gateway, sandbox_setup: Message | None, confine: Any) -> sandbox.Layers:
    """The server has to listen before this process is confined, and may answer only after that."""
    from autoharness.host import openai_server  # most agents need none

    layers = {"network": sandbox.own_network(sandbox_setup)} if sandbox_setup else {}
    server = openai_server.Server(token := secrets.token_hex(16))
    layers |= confine(server.port)
    server.serve(gateway.complete)
    agent_api._use_base_url(server.base_url, token)
    return layers


def run_host(channel: Channel, setup: Message, all_hosts: Message, library: "sandbox.Library | None") -> None:
    """Confine this process, then answer calls until the channel closes."""
    threading.stack_size(_STACK_BYTES)
    host, gateway = Host(Path(setup["agent"]) / "agent.py"), Gateway(channel)
    agent_api._use_gateway(gateway.complete)

    def confine(port: int | None = None) -> sandbox.Layers:
        return sandbox.confine(library, setup["agent"], setup["scratch"], port) if library else {}

    layers = _serve_base_url(gateway, all_hosts["sandbox"], confine) if all_hosts["base_url"] else confine()
    channel.send({"pid": os.getpid(), "layers": layers})
    calls: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_answer_all, args=(channel, host, calls), daemon=True).start()
    while (message := channel.receive()) is not None:
        if "chat" in message:
            gateway.deliver(message)
        else:
            calls.put(message)
    os._exit(0)  # the worker is gone; threads stuck in the agent's code must not keep the process


def main() -> None:
    Starter(socket.socket(fileno=int(sys.argv[1]))).serve()


if __name__ == "__main__":
    main()
