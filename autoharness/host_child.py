"""The agent host: the child process in which `agent/agent.py` runs. Spawned by `host.py`, never imported.

    python -I host_child.py DESCRIPTOR

In:  {"agent_file", "base_url": whether to serve one, "sandbox": None or what `sandbox.confine` takes}   first of all
     {"id", "call": "start" | "next" | "stop", "simulation", ...}   {"chat", "response" | "refused" | "aborted"}
Out: {"layers": what confines this process}     first of all
     {"id", "result" | "error"}                                      {"chat", "simulation", "request"}

Each call runs on a thread of its own, so that simulations do not wait for each other; those of one simulation come
one after the other, since its conversation does.
"""

import contextvars
import errno
import importlib.util
import itertools
import os
import queue
import sys
import threading
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGE = Path(__file__).resolve().parent


def _load(name: str, path: Path) -> ModuleType:
    """Import one file under `name`. The folder it lies in stays off sys.path."""
    folder = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=folder)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_prefix, sys.pycache_prefix = sys.pycache_prefix, __file__  # no folder: `imports` itself comes from its source too
_load("autoharness", _PACKAGE / "__init__.py")
sys.pycache_prefix = _prefix

from autoharness import agent_api, sandbox, tau2_standin  # noqa: E402  (found through the package loaded above)
from autoharness.channel import Channel, Message, connect  # noqa: E402
from autoharness.errors import ChannelError  # noqa: E402

_STACK_BYTES = 2 * 1024 * 1024
"""Of each thread: many wait for their LLM at once, and all count as memory of this process."""

_simulation: contextvars.ContextVar[str] = contextvars.ContextVar("simulation")


class Gateway:
    """Sends chat completion requests out through the channel; hands each answer to the thread that waits for it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._numbers = itertools.count()
        self._waiting: dict[int, queue.SimpleQueue[Message]] = {}

    def complete(self, request: Message) -> Message:
        """For the simulation in whose name this thread runs."""
        return self.complete_for(_simulation.get(), request)

    def complete_for(self, simulation: str, request: Message) -> Message:
        number = next(self._numbers)
        answers: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._waiting[number] = answers
        self._channel.send({"chat": number, "simulation": simulation, "request": request})
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
    """The agents in this process, one for each simulation."""

    def __init__(self, agent_file: Path) -> None:
        self._agents: dict[str, Any] = {}
        self._turns: dict[str, int] = {}
        self._states: dict[str, Any] = {}
        self._module: ModuleType | None = None
        self._loading = threading.Lock()
        self._agent_file = agent_file

    def start(self, call: Message) -> None:
        tools = [agent_api.Tool(schema) for schema in call["tools"]]
        agent_class = self._agent_module().HarnessAgent
        agent = agent_class(
            tools=tools, domain_policy=call["domain_policy"], llm=call["llm"], llm_args=call["llm_args"]
        )
        history = [agent_api._from_wire(message) for message in call["history"]]
        self._agents[call["simulation"]] = agent
        self._states[call["simulation"]] = agent.get_init_state(message_history=history)

    def next(self, call: Message) -> Message:
        simulation = call["simulation"]
        answer = self._agents[simulation].generate_next_message(
            agent_api._from_wire(call["message"]), self._states[simulation]
        )
        if not (isinstance(answer, tuple) and len(answer) == 2):
            raise TypeError(f"generate_next_message must return (AssistantMessage, state), not {_kind(answer)}")
        message, self._states[simulation] = answer
        self._turns[simulation] = self._turns.get(simulation, 0) + 1
        return _to_wire(message, self._turns[simulation])

    def stop(self, simulation: str) -> None:
        self._agents.pop(simulation, None)
        self._states.pop(simulation, None)
        self._turns.pop(simulation, None)

    def _agent_module(self) -> ModuleType:
        with self._loading:
            if self._module is None:
                self._module = _load("agent.agent", self._agent_file)
            return self._module


def _to_wire(message: Any, turn: int) -> Message:
    if not isinstance(message, agent_api.AssistantMessage):
        raise TypeError(f"generate_next_message must return an AssistantMessage, not {_kind(message)}")
    calls = message.tool_calls or []
    for number, call in enumerate(calls):
        call.id = call.id or f"call_{turn}_{number}"  # the same in every run, so that a repeated trial costs nothing
    wire = [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in calls]
    return {"content": message.content, "tool_calls": wire}


def _kind(value: Any) -> str:
    return f"{type(value).__name__}: {value!r:.80}"


def _answer(channel: Channel, host: Host, call: Message) -> None:
    """Run one call of the agent's code. Whatever that code raises becomes the answer."""
    _simulation.set(call["simulation"])
    try:
        channel.send({"id": call["id"], "result": getattr(host, call["call"])(call)})
    except ChannelError:
        os._exit(0)
    except BaseException as error:  # also SystemExit: the agent's code may raise anything
        if what := _used_up(error):  # others in this process would be next: they run again elsewhere
            print(f"out of {what}: {_describe(error)['summary']}", file=sys.stderr, flush=True)
            os._exit(1)
        channel.send({"id": call["id"], "error": _describe(error)})


def _used_up(error: BaseException) -> str:
    """What all simulations in this process share, and there is no more of; "" for another error."""
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


def _inherit_context() -> None:
    """Let threads that the agent starts ask the LLM too: they belong to the simulation that started them."""
    start = threading.Thread.start

    def start_in_context(thread: threading.Thread) -> None:
        context, run = contextvars.copy_context(), thread.run
        thread.run = lambda: context.run(run)  # type: ignore[method-assign]
        start(thread)

    threading.Thread.start = start_in_context  # type: ignore[method-assign, assignment]


def _confine(settings: Message | None, port: int | None = None) -> sandbox.Layers:
    return sandbox.confine(settings, port) if settings else {}


def _serve_base_url(gateway: Gateway, settings: Message | None) -> sandbox.Layers:
    """The server has to listen before this process is confined, and may answer only then."""
    from autoharness import base_url  # most agents need none

    layers = {"network": sandbox.own_network(settings)} if settings else {}
    server = base_url.Server()
    layers |= _confine(settings, server.port)
    server.serve(gateway.complete_for)
    agent_api._use_base_url(server.base_url, _simulation.get)
    return layers


def main() -> None:
    channel = connect(int(sys.argv[1]))
    setup = channel.receive()
    if setup is None:
        return
    threading.stack_size(_STACK_BYTES)
    host, gateway = Host(Path(setup["agent_file"])), Gateway(channel)
    agent_api._use_gateway(gateway.complete)
    layers = _serve_base_url(gateway, setup["sandbox"]) if setup["base_url"] else _confine(setup["sandbox"])
    channel.send({"layers": layers})
    tau2_standin.install()
    _inherit_context()
    while (message := channel.receive()) is not None:
        if "chat" in message:
            gateway.deliver(message)
        elif message["call"] == "stop":
            host.stop(message["simulation"])
        else:
            threading.Thread(target=_answer, args=(channel, host, message), daemon=True).start()
    os._exit(0)  # the worker is gone; threads stuck in the agent's code must not keep the process


if __name__ == "__main__":
    main()
