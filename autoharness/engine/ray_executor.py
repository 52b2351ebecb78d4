"""Runs simulations on the machines of a Ray cluster: each worker is a Ray actor.

The door talks to an actor's worker as to a local one, by messages; they go through Ray. The agent file is sent by its
contents, the package with the actor. A node needs the same versions of Python, tau2 and litellm, and its tau2 must
score as the first node's does. Keys go to the actors alone, as an argument: Ray writes a runtime environment into its
logs. If a node is lost, its simulations in flight run elsewhere.
"""

import itertools
import logging
import os
import queue
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoharness.core.channel import Channel, Message
from autoharness.core.endpoints import sparing_loopback
from autoharness.core.errors import ChannelError, SetupError, UserError
from autoharness.core.files import PACKAGE_ROOT
from autoharness.core.settings import Experiment
from autoharness.engine.executor import LocalExecutor
from autoharness.engine.messages import RunTrial, Setup, Started, decoded, send
from autoharness.engine.worker import Worker
from autoharness.engine.workers import on_this_machine

_ENDINGS = ("_API_KEY", "_API_BASE", "_BASE_URL", "_ENDPOINT", "_API_VERSION", "_REGION_NAME")
_BEGINNINGS = ("AWS_", "AZURE_", "GOOGLE_", "VERTEX", "OPENAI_", "ANTHROPIC_", "LITELLM_")
_SAME = ("flavour", "version", "data_checksum")
_LONGEST_START_S = 120.0
_LONGEST_ANSWER_S = 10.0
_CALLS_AT_ONCE = 8  # of one actor: one waits for the worker's messages, the others bring it messages


class RayExecutor(LocalExecutor):
    """Workers on the nodes of a Ray cluster, as many as it has processors free."""

    def __init__(self, experiment: Experiment, log_folder: Path) -> None:
        """Connects to the cluster at `ray_address`, or starts one on this machine. Raises UserError."""
        super().__init__(experiment, log_folder)
        self._ray = _connected(experiment.ray_address)
        self._actor = self._ray.remote(RayWorker)
        self._facts: Message | None = None

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers:
            worker.channel.close()

    def _most_workers(self) -> int:
        return max(1, len(self._workers) + self._free())

    def _free(self) -> int:
        return int(self._ray.available_resources().get("CPU", 0))

    def _replace(self) -> None:
        """Only if a processor is free: a lost node's processors are gone."""
        if not self._workers or self._free():
            self._start_worker()

    def _begin_worker(self, log: Path) -> Channel:
        log.touch()
        actor = self._actor.options(num_cpus=1, max_concurrency=_CALLS_AT_ONCE, scheduling_strategy="SPREAD").remote()
        try:
            node, facts = self._ray.get(
                actor.start.remote(_environment(self._experiment), self._experiment.to_json()),
                timeout=_LONGEST_START_S,
            )
        except self._ray.exceptions.GetTimeoutError:
            raise SetupError(f"ray: no worker within {_LONGEST_START_S:g} s: no processor is free") from None
        except self._ray.exceptions.RayError as error:
            raise SetupError(f"ray: a worker did not start: {_last_line(error)}") from error
        self._check_same(node, facts)
        return _RayChannel(self._ray, actor)

    def _check_same(self, node: str, facts: Message) -> None:
        """Raises UserError if a node's benchmark differs from the first node's: its scores would not compare."""
        first = self._facts = self._facts or facts
        for name in _SAME:
            if facts[name] != first[name]:
                here, there = str(first[name])[:12], str(facts[name])[:12]
                raise UserError(
                    f"ray: the benchmark of node {node} has {name} {there}, the first one {here}: install the same"
                )


class _RayChannel(Channel):
    """A channel to an actor's worker."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray = ray
        self._actor = actor
        self._sent = itertools.count()

    def send(self, message: Message) -> None:
        """Raises ChannelError if the actor is known to be gone; otherwise `receive` finds out."""
        try:
            self._actor.send.remote(next(self._sent), message)
        except self._ray.exceptions.RayError as error:
            raise ChannelError(f"the actor is gone: {_last_line(error)}") from error

    def receive(self, timeout_s: float | None = None) -> Message | None:
        try:
            message: Message | None = self._ray.get(self._actor.receive.remote(), timeout=timeout_s)
        except Exception as error:  # the actor, its node or the connection to the cluster is gone
            raise ChannelError(f"the actor is gone: {_last_line(error)}") from error
        return message

    def close(self) -> None:
        with suppress(Exception):  # it is gone already
            if self._ray.is_initialized():  # otherwise `kill` would start a cluster
                self._ray.kill(self._actor)


class RayWorker:
    """The actor: a simulation worker in this process, at the other end of a pair of sockets."""

    def start(self, environment: dict[str, str], experiment: Message) -> tuple[str, Message]:
        """`environment`: the providers' keys and addresses. Returns this node's name and its benchmark's facts."""
        settings = Experiment(**experiment)
        servers = [*environment.values(), *(endpoint.url for endpoint in settings.endpoints.values())]
        os.environ.update(environment | sparing_loopback(servers))
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
        from autoharness.benchmarks.loading import load

        benchmark = load(settings)
        facts = benchmark.facts(experiment["domain"])
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours)
        self._lock, self._taken = threading.Lock(), 0
        self._early: dict[int, Message] = {}
        """Messages that came too early, by number: some that were sent before them are still missing."""
        self._messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        threading.Thread(target=Worker(Channel(theirs), benchmark).serve, daemon=True).start()
        threading.Thread(target=self._read, daemon=True).start()
        return socket.gethostname(), {name: getattr(facts, name) for name in _SAME}

    def send(self, number: int, message: Message) -> None:
        """`number`: its place among the messages, from 0 on. Ray runs calls of one actor in any order."""
        with self._lock:
            self._early[number] = message
            while self._taken in self._early:
                self._taken += 1
                try:
                    self._take(self._early.pop(self._taken - 1))
                except Exception:  # the door would wait for a lost message for ever: this worker is of no use
                    self._messages.put(None)
                    raise

    def _take(self, received: Message) -> None:
        message = decoded(received)
        match message:
            case Setup():
                message = on_this_machine(message)
            case RunTrial():  # what was said so far is lost with the node
                message = replace(message, unfinished="")
        send(self._channel, message)

    def receive(self) -> Message | None:
        return self._messages.get()

    def _read(self) -> None:
        with suppress(ChannelError):
            while (message := self._channel.receive()) is not None:
                if not isinstance(decoded(message), Started):  # of use on the door's machine alone
                    self._messages.put(message)
        self._messages.put(None)


def _end_with(parent: int) -> None:
    """End with the node manager: if it is killed, Ray keeps the actor, while its simulations run again elsewhere."""
    while os.getppid() == parent:
        time.sleep(0.25)
    os._exit(1)


def _connected(address: str | None) -> Any:
    """Ray, connected. Raises UserError."""
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # otherwise it reports to its makers
        import ray
    except ImportError:
        raise UserError("executor: ray is not installed: pip install 'auto-harness[ray]'") from None
    _silence(ray)
    if not ray.is_initialized():
        _check_reachable(address)
        try:
            ray.init(
                address=address,
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"py_modules": [str(PACKAGE_ROOT)]},
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(f"ray_address: {address}: {_last_line(error)}") from error
    return ray


def _check_reachable(address: str | None) -> None:
    """Raises UserError if nothing answers at the address: Ray itself would wait for minutes."""
    host, colon, port = (address or "").rpartition(":")
    if not colon or "/" in host or not port.isdecimal():
        return  # "auto", or a URL
    try:
        socket.create_connection((host, int(port)), _LONGEST_ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"ray_address: nobody answers at {address} ({error}); on its head: ray start --head"
        ) from error


def _silence(ray: Any) -> None:
    """Ray reports lost nodes on standard output, which carries results alone; no setting turns that off."""
    if hasattr(ray._private.worker, "print_to_stdstream"):
        ray._private.worker.print_to_stdstream = lambda *args, **kwargs: None


def _environment(experiment: Experiment) -> dict[str, str]:
    """The providers' keys and addresses."""
    named = {endpoint.key_name for endpoint in experiment.endpoints.values()}
    return {
        name: value
        for name, value in os.environ.items()
        if name.endswith(_ENDINGS) or name.startswith(_BEGINNINGS) or name in named
    }


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
