"""Runs simulations on this machine: worker processes, one for each core, fed by the door process.

The door imports neither tau2 nor litellm; it hands out trials and takes outcomes. A process of its own, the nursery,
imports them once and forks the workers. A worker that dies, or is not heard of for a minute, costs the simulations
that were in it; they are given to another one, twice at the most.
"""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from autoharness import data
from autoharness.channel import Channel, Message
from autoharness.config import Experiment
from autoharness.errors import ChannelError, SetupError, UserError, WorkerDied
from autoharness.imports import python_path
from autoharness.leaks import Leak
from autoharness.results import Outcome, Status, Trial
from autoharness.store import default_vault

LLM_CACHE = "llm-cache"
"""The folder in the vault."""
START_METHOD = "fork" if sys.platform == "linux" else "spawn"
_IN_WORKER = "AUTOHARNESS_IN_WORKER"
_MOST_TRIES = 3
_NURSERY = Path(__file__).resolve().with_name("nursery.py")
_LONGEST_SILENCE_S = 60.0
_LONGEST_END_S = 10.0


@dataclass
class _Job:
    trial: Trial
    tries: int = 0


@dataclass
class _Worker:
    channel: Channel
    log: Path
    jobs: dict[int, _Job] = field(default_factory=dict)
    pid: int = 0
    """0 until it has said so."""
    heard: float = field(default_factory=time.monotonic)
    """When its last message came; it sends some without being asked."""
    spoke: bool = False
    """Whether anything has come from it."""
    ended: bool = False


class Watch(Protocol):
    """Whoever is to know what happens while trials run."""

    def begun(self, trial: Trial) -> None: ...

    def limited(self, model: str, pause_s: float) -> None:
        """The model's provider says that there are too many calls."""

    @property
    def wants_messages(self) -> bool: ...

    def said(self, trial: Trial, place: int, message: Message) -> None:
        """A message of a conversation that is under way; its place counts from 0."""


class _Nursery:
    """The process that forks workers, as the door sees it."""

    def __init__(self, experiment: Experiment, log: Path, simulates: bool) -> None:
        """Raises UserError in a worker: code of one's own there would start workers that start workers."""
        if os.environ.get(_IN_WORKER):
            raise UserError("a simulation cannot run a benchmark: splits() and simulate() are called in its workers")
        self.log = log
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_NURSERY), str(theirs.fileno()), START_METHOD],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **data.environment(), "PYTHONPATH": python_path(), _IN_WORKER: "yes"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is the door's to handle
            )
        with suppress(OSError):  # it died at once: whoever waits for a worker of it finds out
            self._control.send(json.dumps({"experiment": experiment.to_json(), "simulates": simulates}).encode())

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def hatch(self, channel: socket.socket, log: Path) -> None:
        """Have it fork a worker for the far end of this channel. Where it is gone, that end closes."""
        log.touch()
        with channel, suppress(OSError):
            socket.send_fds(self._control, [json.dumps({"log": str(log)}).encode()], [channel.fileno()])

    def close(self) -> None:
        """Ends the workers too, once their channels are closed."""
        self._control.close()
        try:
            self._process.wait(timeout=_LONGEST_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _kill(pid: int) -> None:
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class LocalExecutor:
    """Worker processes on this machine. Use as a context manager: leaving it ends them all."""

    def __init__(
        self, experiment: Experiment, agents: Mapping[str, str], log_folder: Path, simulates: bool = True
    ) -> None:
        """`agents`: the agent files that trials name, by SHA-256. `simulates`: False where it is only asked."""
        self._experiment = experiment
        self._simulates = simulates
        self._agents = agents
        self._log_folder = log_folder
        self._nursery: _Nursery | None = None
        self._workers: list[_Worker] = []
        self._layers: dict[str, str] | None = None
        """What confines the hosts of the first worker, and has to confine those of the others."""
        self._started = self._hatched = 0
        self._looked = 0.0
        """When it was last looked whether workers are heard of."""
        self._last_yielded: Outcome | None = None
        self._watches: Sequence[Watch] = ()
        self._inbox: queue.SimpleQueue[tuple[_Worker, Message | None]] = queue.SimpleQueue()

    def __enter__(self) -> "LocalExecutor":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.channel.close()  # the worker ends its agent hosts and itself
        if self._nursery:
            self._nursery.close()
        for worker in self._workers:
            if worker.pid and Path(f"/proc/{worker.pid}").exists():  # of a nursery that was killed, and stuck
                _kill(worker.pid)

    def use(self, agents: Mapping[str, str]) -> None:
        """Be ready for trials of these agent files from now on, while none runs. What belonged to others is ended."""
        self._agents = agents
        self._workers = [worker for worker in self._workers if not worker.ended]
        for worker in self._workers:
            with suppress(ChannelError):  # it dies just now; its reader reports that
                worker.channel.send({"agents": dict(agents)})

    def facts(self, domain: str) -> Message:
        """tau's DomainFacts as JSON, and "layers": what confines an agent host here. Raises UserError."""
        facts: Message = self._ask({"facts": domain})["facts"]
        self._layers = facts["layers"]
        return facts

    def missing_keys(self, models: list[str]) -> dict[str, str]:
        """For each model whose provider cannot be asked as things are: what is missing."""
        missing: dict[str, str] = self._ask({"keys": models})["keys"]
        return missing

    def unpriced(self, models: list[str]) -> list[str]:
        """Those whose price is known neither to litellm nor to the experiment."""
        found: list[str] = self._ask({"unpriced": models})["unpriced"]
        return found

    def leaks(self, domain: str, before: str, after: str) -> list[Leak]:
        """What an edit of the agent file gives away of the domain's records. Raises UserError."""
        found = self._ask({"leaks": domain, "before": before, "after": after})["leaks"]
        return [Leak(*one) for one in found]

    def provide(self) -> None:
        """Have the benchmark see to it that its data is there. Raises UserError."""
        self._ask({"provide": True})

    def published(self, domain: str, task_ids: list[str]) -> Message:
        """What a results file of tau2's own says beside its simulations; see `tau`. Raises UserError."""
        found: Message = self._ask({"published": domain, "tasks": task_ids})["published"]
        return found

    def _ask(self, question: Message) -> Message:
        """A worker's answer to a question that is no simulation; asked while none runs."""
        worker = self._workers[0] if self._workers else self._start_worker()
        with suppress(ChannelError):  # it died at once; its reader reports that
            worker.channel.send(question)
        while True:
            sender, message = self._inbox.get()
            if sender not in self._workers:
                continue
            if message is None and sender is worker:
                raise SetupError(f"the simulation worker ended at once: {self._last_words(sender)}")
            if message is not None:
                self._raise_user_error(message)
                if question.keys() & message.keys():
                    return message

    def run(
        self,
        trials: list[Trial],
        diagnose: set[str],
        enough: Callable[[], bool] = lambda: False,
        has_room: Callable[[int], bool] = lambda in_flight: True,
        watches: Sequence[Watch] = (),
    ) -> Iterator[Outcome]:
        """Run the trials in this order; yields each outcome as it comes.

        `diagnose`: the tasks whose failures are to be explained. `enough`: asked before further trials are begun;
        once it is true those in flight are the last ones. `has_room`: whether one more may be begun beside so many;
        where none is in flight and there is no room, the run ends. Raises UserError for a mistake that only a worker
        can see.
        """
        self._last_yielded, self._watches = None, watches
        waiting = deque(_Job(trial) for trial in trials)
        workers = min(self._most_workers(), self._experiment.max_concurrency, len(trials))
        while len(self._workers) < workers:
            self._start_worker()
        while True:
            if enough():
                waiting.clear()
            self._hand_out(waiting, diagnose, has_room)
            if not self._in_flight:
                return
            self._end_silent_ones()
            try:
                worker, message = self._inbox.get(timeout=_LONGEST_SILENCE_S / 4)
            except queue.Empty:
                continue
            if worker not in self._workers:
                continue
            if message is None:
                yield from self._bury(worker, waiting)
                continue
            self._raise_user_error(message)
            if "limited" in message:
                self._tell_others(worker, message)
                for watch in self._watches:
                    watch.limited(message["limited"], message["pause_s"])
            if "said" in message and message["job"] in worker.jobs:
                self._pass_on(worker.jobs[message["job"]].trial, message)
            if "outcome" in message:
                del worker.jobs[message["job"]]
                self._last_yielded = Outcome.from_json(message["outcome"])
                yield self._last_yielded

    def finished(self) -> list[Outcome]:
        """After an interrupted `run`: the outcomes that may not have been dealt with, from the last one on."""
        outcomes = [self._last_yielded] if self._last_yielded else []
        while not self._inbox.empty():
            _, message = self._inbox.get()
            if message and "outcome" in message:
                outcomes.append(Outcome.from_json(message["outcome"]))
        return outcomes

    @property
    def _in_flight(self) -> int:
        return sum(len(worker.jobs) for worker in self._workers)

    def _hand_out(self, waiting: deque[_Job], diagnose: set[str], has_room: Callable[[int], bool]) -> None:
        """Give waiting jobs to the least busy worker while there is room for another conversation."""
        while waiting and self._in_flight < self._experiment.max_concurrency and has_room(self._in_flight):
            worker = min(self._workers, key=lambda one: len(one.jobs))
            job = waiting.popleft()
            self._started += 1
            job.tries += 1
            worker.jobs[self._started] = job
            message = {
                "run": asdict(job.trial),
                "job": self._started,
                "diagnose": job.trial.task_id in diagnose,
                "say": any(watch.wants_messages for watch in self._watches),
            }
            try:
                worker.channel.send(message)
            except ChannelError:
                return  # its reader reports the death, and the job waits again
            for watch in self._watches:
                watch.begun(job.trial)

    def _pass_on(self, trial: Trial, message: Message) -> None:
        for watch in self._watches:
            if watch.wants_messages:
                watch.said(trial, message["place"], message["said"])

    def _tell_others(self, sender: _Worker, message: Message) -> None:
        for worker in self._workers:
            if worker is not sender:
                with suppress(ChannelError):  # its reader reports the death
                    worker.channel.send(message)

    def _end_silent_ones(self) -> None:
        """A worker that is stuck, or was stopped, keeps its simulations for ever. Its reader reports the death."""
        now = time.monotonic()
        if now - self._looked > _LONGEST_SILENCE_S / 2:  # it stood still: what came meanwhile is unread
            for worker in self._workers:
                worker.heard = now
        self._looked = now
        for worker in self._workers:
            bound_s = _LONGEST_SILENCE_S if worker.spoke else _LONGEST_SILENCE_S * 10  # it may not be forked yet
            if now - worker.heard > bound_s and not worker.ended:
                _kill(worker.pid)
                worker.channel.close()

    def _bury(self, worker: _Worker, waiting: deque[_Job]) -> list[Outcome]:
        """Replace a dead worker. Its simulations wait again; those that were tried too often end here."""
        self._workers.remove(worker)
        reason = f"the simulation worker ended: {self._last_words(worker)}"
        if not worker.jobs and not self._workers:
            raise SetupError(reason)
        self._replace()
        given_up = [job for job in worker.jobs.values() if job.tries >= _MOST_TRIES]
        waiting.extendleft(job for job in worker.jobs.values() if job.tries < _MOST_TRIES)
        return [Outcome(job.trial, Status(WorkerDied.status), None, reason) for job in given_up]

    def _most_workers(self) -> int:
        return os.cpu_count() or 1

    def _replace(self) -> None:
        """A worker has died."""
        self._start_worker()

    def _hatch(self, log: Path) -> Channel:
        """A new worker's channel."""
        if self._nursery is None or not self._nursery.alive:
            self._nursery = _Nursery(self._experiment, self._log_folder / "nursery.log", self._simulates)
        ours, theirs = socket.socketpair()
        self._nursery.hatch(theirs, log)
        return Channel(ours)

    def _start_worker(self) -> _Worker:
        log = self._log_folder / f"worker-{self._hatched}.log"
        self._hatched += 1
        worker = _Worker(self._hatch(log), log)
        self._workers.append(worker)
        threading.Thread(target=self._read, args=(worker,), daemon=True).start()
        setup = {
            "experiment": self._experiment.to_json(),
            "agents": dict(self._agents),
            "threads": self._experiment.max_concurrency,
            "folder": str(self._log_folder),
            "layers": self._layers,
            "llm_cache": str(default_vault() / LLM_CACHE),
            "private": [str(_NURSERY.parent), str(Path.cwd()), str(default_vault())],
        }
        with suppress(ChannelError):  # as above
            worker.channel.send({"setup": setup})
        return worker

    def _read(self, worker: _Worker) -> None:
        try:
            while (message := worker.channel.receive()) is not None:
                worker.heard, worker.spoke = time.monotonic(), True
                worker.pid = message.get("pid", worker.pid)
                if not message.keys() & {"pid", "beat"}:
                    self._inbox.put((worker, message))
        except ChannelError:
            pass
        worker.ended = True
        self._inbox.put((worker, None))

    def _raise_user_error(self, message: Message) -> None:
        if "user_error" in message:
            raise UserError(message["user_error"])

    def _last_words(self, worker: _Worker) -> str:
        """What it wrote last, or the process that should have forked it."""
        for log in (worker.log, *([self._nursery.log] if self._nursery else [])):
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            if lines:
                return f"{lines[-1][:200]} (log: {log})"
        return f"without a word (log: {worker.log})"
