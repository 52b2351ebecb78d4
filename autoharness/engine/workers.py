"""Starts, asks and ends the worker processes of this machine.

A separate process, the fork server, imports tau2 and litellm once and forks the workers. A worker gets work once it
says that it is ready.
"""

import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, cast

from autoharness.benchmarks.leaks.leak_scan import Leak
from autoharness.core.channel import Channel
from autoharness.core.errors import ChannelError, SetupError, UserError
from autoharness.core.files import PACKAGE_ROOT
from autoharness.core.outcomes import Trial, digest
from autoharness.core.settings import Experiment
from autoharness.engine.forkserver_process import ForkServerProcess
from autoharness.engine.messages import (
    Answer,
    AskFacts,
    AskLeaks,
    AskMissingKeys,
    AskPublished,
    AskServers,
    AskUnpriced,
    Beat,
    FromWorker,
    Mistake,
    Provide,
    Question,
    Ready,
    Setup,
    Started,
    UseAgents,
    decoded,
    send,
)
from autoharness.llm.server_check import Found
from autoharness.vault.location import named_vault
from autoharness.vault.store import Store

Json = dict[str, Any]

MOST_TRIES = 3
_LONGEST_ANSWER_S = 300.0
"""For the answer to a question that is not a simulation."""
_LONGEST_ASKING_S = 3600.0
_LONGEST_PROVIDING_S = 3600.0
"""For data that is fetched over a network."""


@dataclass
class Job:
    trial: Trial
    tries: int = 0


@dataclass(eq=False)
class WorkerProcess:
    channel: Channel
    log: Path
    jobs: dict[int, Job] = field(default_factory=dict)
    pid: int = 0
    """0 until the worker has sent it."""
    heard: float = field(default_factory=time.monotonic)
    """When its last message came; it sends some without being asked."""
    ready: bool = False
    """Whether it has said that it can be given work."""
    ended: bool = False

    def end(self) -> None:
        """Kill it. If its pid is not known, as on another machine, it ends because its channel is closed."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.channel.close()


def on_this_machine(setup: Setup) -> Setup:
    """The setup with the paths of this machine, in its vault."""
    store = Store(named_vault())
    return replace(
        setup,
        folder=str(store.hosts_folder()),
        private=[str(PACKAGE_ROOT), str(Path.cwd()), str(named_vault())],
        llm_cache=str(store.folder / "llm-cache") if setup.experiment["llm_cache"] != "off" else "",
    )


class Workers:
    """Worker processes on this machine that answer questions. Use as a context manager: leaving it ends them all."""

    _simulates = False
    """Whether they will ask LLMs."""

    def __init__(self, experiment: Experiment, log_folder: Path) -> None:
        self._experiment = experiment
        self._log_folder = log_folder
        self._agents: Mapping[str, str] = {}
        """The agent files that trials name, by SHA-256."""
        self._forkserver: ForkServerProcess | None = None
        self._workers: list[WorkerProcess] = []
        self._layers: dict[str, str] | None = None
        """What confines the first worker's hosts; the other workers' hosts must be confined in the same way."""
        self._worker_count = 0
        self._failed_starts = 0
        """In a row."""
        self._inbox: queue.SimpleQueue[tuple[WorkerProcess, FromWorker | None]] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.channel.close()  # the worker ends its agent hosts and itself
        if self._forkserver:
            self._forkserver.close()
        for worker in self._workers:
            if worker.pid and Path(f"/proc/{worker.pid}").exists():  # its fork server was killed, and it is stuck
                worker.end()

    def use(self, agents: Mapping[str, str]) -> None:
        """Be ready for trials of these agent files from now on, while none runs. What belonged to others is ended."""
        self._agents = agents
        self._workers = [worker for worker in self._workers if not worker.ended]
        for worker in self._workers:
            with suppress(ChannelError):  # it dies just now; its reader reports that
                send(worker.channel, UseAgents(dict(agents)))

    def facts(self, domain: str) -> Json:
        """The benchmark's DomainFacts as JSON, and "layers": what confines an agent host here. Raises UserError."""
        facts: Json = self._ask(AskFacts(domain))
        self._layers = facts["layers"]
        return facts

    def missing_keys(self, models: list[str]) -> dict[str, str]:
        """For each model whose provider cannot be asked yet: what is missing."""
        missing: dict[str, str] = self._ask(AskMissingKeys(models))
        return missing

    def unpriced(self, models: list[str]) -> list[str]:
        """The models whose price is known neither to litellm nor to the experiment."""
        found: list[str] = self._ask(AskUnpriced(models))
        return found

    def found_by_asking(self, domain: str) -> list[Found]:
        """What each model answers to a few short questions, which it is paid for; see `llm.server_check`."""
        return [Found(**one) for one in self._ask(AskServers(domain), _LONGEST_ASKING_S)]

    def leaks(self, domain: str, before: str, after: str, baseline: str) -> list[Leak]:
        """What an edit of the agent file copies from the domain's records, or hides. Raises UserError."""
        return [Leak(*one) for one in self._ask(AskLeaks(domain, before, after, baseline))]

    def provide(self) -> None:
        """Have the benchmark make sure that its data is there. Raises UserError."""
        self._ask(Provide(), _LONGEST_PROVIDING_S)

    def published(self, domain: str, task_ids: list[str]) -> Json:
        """What tau2's own results file says beside its simulations; see `tau2.domains`. Raises UserError."""
        found: Json = self._ask(AskPublished(domain, task_ids))
        return found

    def _ask(self, question: Question, longest_s: float | None = None) -> Any:
        """A worker's answer to a question that is not a simulation, asked while none runs. Raises SetupError.

        A worker that dies of the question is replaced, as often as one that dies of a simulation.
        """
        longest_s = longest_s or _LONGEST_ANSWER_S
        for _ in range(MOST_TRIES):
            worker = self._workers[0] if self._workers else self._start_worker()
            with suppress(ChannelError):  # it died at once; its reader reports that
                send(worker.channel, question)
            until = time.monotonic() + longest_s
            while worker in self._workers:
                try:
                    sender, message = self._inbox.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    worker.end()
                    self._workers.remove(worker)  # its answer may be on its way, and belongs to no other question
                    problem = f"the simulation worker does not answer within {longest_s:g} s"
                    raise SetupError(f"{problem}: {self._last_words(worker)}") from None
                if sender not in self._workers:
                    continue
                if message is None:  # another worker too: otherwise `run` would give it work
                    self._workers.remove(sender)
                    continue
                self._take_note(sender, message)
                if isinstance(message, Answer):
                    return message.value
        last = self._last_words(worker)
        raise SetupError(f"the simulation worker ended {MOST_TRIES} times, without an answer: {last}")

    def _take_note(self, worker: WorkerProcess, message: FromWorker) -> None:
        """Note what a worker says about itself. Raises UserError."""
        if isinstance(message, Mistake):
            raise UserError(message.line)
        if isinstance(message, Ready):
            worker.ready, self._failed_starts = True, 0

    def _begin_worker(self, log: Path) -> Channel:
        """Start a worker; returns its channel."""
        if self._forkserver is None or not self._forkserver.alive:
            self._forkserver = ForkServerProcess(
                self._experiment, self._log_folder / "forkserver.log", self._simulates
            )
        ours, theirs = socket.socketpair()
        self._forkserver.fork(theirs, log)
        return Channel(ours)

    def _start_worker(self) -> WorkerProcess:
        log = self._log_folder / f"worker-{self._worker_count}.log"
        self._worker_count += 1
        worker = WorkerProcess(self._begin_worker(log), log)
        self._workers.append(worker)
        threading.Thread(target=self._read, args=(worker,), daemon=True).start()
        setup = Setup(
            experiment=self._experiment.to_json(),
            agents=dict(self._agents),
            threads=self._experiment.max_concurrency,
            layers=self._layers,
            secret=digest(["hosts", Store(named_vault()).secret()]),
        )
        with suppress(ChannelError):  # as above
            send(worker.channel, on_this_machine(setup))
        return worker

    def _read(self, worker: WorkerProcess) -> None:
        try:
            while (received := worker.channel.receive()) is not None:
                worker.heard = time.monotonic()
                message = cast(FromWorker, decoded(received))
                if isinstance(message, Started):
                    worker.pid = message.pid
                elif not isinstance(message, Beat):
                    self._inbox.put((worker, message))
        except ChannelError:
            pass
        finally:  # also after a bug: the executor waits for the message that this worker has ended
            worker.channel.close()  # its trials run elsewhere now
            worker.ended = True
            self._inbox.put((worker, None))

    def _last_words(self, worker: WorkerProcess) -> str:
        """The last line that it wrote; otherwise that of the process that should have forked it."""
        for log in (worker.log, *([self._forkserver.log] if self._forkserver else [])):
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            if lines:
                return f"{lines[-1][:200]} (log: {log})"
        return f"without a word (log: {worker.log})"
