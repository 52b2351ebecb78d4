"""Runs simulations on this machine: worker processes, one for each core, fed by the door process.

The door imports neither tau2 nor litellm; it hands out trials and takes outcomes. A process of its own, the fork
server, imports them once and forks the workers. A worker is given work once it says that it is ready. One that
dies, or is not heard of for a minute, costs the simulations that were in it; they are given to another one, twice at
the most. Where one after the other dies and nothing comes of it, the run ends with what the last one said.
"""

import math
import os
import queue
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol

from autoharness.benchmarks.leaks.leak_scan import Leak
from autoharness.core.channel import Channel, Message
from autoharness.core.errors import ChannelError, SetupError, UserError, WorkerDied
from autoharness.core.experiment import Experiment
from autoharness.core.files import PACKAGE_ROOT
from autoharness.core.outcomes import Outcome, Status, Trial, digest
from autoharness.engine.forkserver_process import ForkServerProcess
from autoharness.engine.machine import allowed_cpus
from autoharness.llm.outages import Outages
from autoharness.vault.store import Store, default_vault

_MOST_TRIES = 3
_LONGEST_SILENCE_S = 60.0
_LONGEST_START_S = 300.0
_LONGEST_ANSWER_S = 300.0
"""To a question that is no simulation."""
_LONGEST_PROVIDING_S = 3600.0
"""For data that is fetched over a network."""
_MOST_FAILED_STARTS = 3
_MOST_DEATHS = 9
"""So many workers in a row, while no simulation comes to an end."""
_FIRST_PAUSE_S = 0.5
_LOOKS_AGAIN_S = 0.5
"""For a trial that another command is at."""


@dataclass
class _Job:
    trial: Trial
    tries: int = 0


@dataclass(eq=False)
class _Worker:
    channel: Channel
    log: Path
    jobs: dict[int, _Job] = field(default_factory=dict)
    pid: int = 0
    """0 until it has said so."""
    heard: float = field(default_factory=time.monotonic)
    """When its last message came; it sends some without being asked."""
    ready: bool = False
    """Whether it has said so: then it can be given work."""
    ended: bool = False


Claim = Callable[[Trial], Outcome | bool]
"""Whether a trial is to be run here: not while another command is at it. Or what that one has made of it."""


class Watch(Protocol):
    """Whoever is to know what happens while trials run."""

    def begun(self, trial: Trial) -> None: ...

    def limited(self, model: str, pause_s: float) -> None:
        """The model's provider says that there are too many calls."""

    def waits(self, why: str) -> None:
        """That models are down, or answer again."""

    @property
    def wants_messages(self) -> bool: ...

    def said(self, trial: Trial, place: int, message: Message) -> None:
        """A message of a conversation that is under way; its place counts from 0."""


def cache_folder() -> str:
    """Where answers of LLMs are kept on this machine, in the vault."""
    return str(Store(default_vault()).folder / "llm-cache")


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
        self._forkserver: ForkServerProcess | None = None
        self._workers: list[_Worker] = []
        self._layers: dict[str, str] | None = None
        """What confines the hosts of the first worker, and has to confine those of the others."""
        self._started = self._worker_count = 0
        self._failed_starts = self._deaths = 0
        """Each in a row."""
        self._outages = Outages(experiment.max_outage_s)
        self._claim: Claim = lambda trial: True
        self._elsewhere: deque[_Job] = deque()
        """Other commands are at these trials."""
        self._looked_elsewhere = 0.0
        self._said_elsewhere = False
        self._looked = 0.0
        """When it was last looked whether workers are heard of."""
        self._last_yielded: Outcome | None = None
        self._watches: Sequence[Watch] = ()
        self._unfinished: Callable[[Trial], Path] | None = None
        self._inbox: queue.SimpleQueue[tuple[_Worker, Message | None]] = queue.SimpleQueue()

    def __enter__(self) -> "LocalExecutor":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.channel.close()  # the worker ends its agent hosts and itself
        if self._forkserver:
            self._forkserver.close()
        for worker in self._workers:
            if worker.pid and Path(f"/proc/{worker.pid}").exists():  # of a fork server that was killed, and stuck
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

    def leaks(self, domain: str, before: str, after: str, baseline: str) -> list[Leak]:
        """What an edit of the agent file gives away of the domain's records, or hides. Raises UserError."""
        found = self._ask({"leaks": domain, "before": before, "after": after, "baseline": baseline})["leaks"]
        return [Leak(*one) for one in found]

    def provide(self) -> None:
        """Have the benchmark see to it that its data is there. Raises UserError."""
        self._ask({"provide": True}, _LONGEST_PROVIDING_S)

    def published(self, domain: str, task_ids: list[str]) -> Message:
        """What a results file of tau2's own says beside its simulations; see `tau`. Raises UserError."""
        found: Message = self._ask({"published": domain, "tasks": task_ids})["published"]
        return found

    def _ask(self, question: Message, longest_s: float | None = None) -> Message:
        """A worker's answer to a question that is no simulation; asked while none runs. Raises SetupError.

        One that dies of the question is replaced, as often as one that dies of a simulation.
        """
        longest_s = longest_s or _LONGEST_ANSWER_S
        for _ in range(_MOST_TRIES):
            worker = self._workers[0] if self._workers else self._start_worker()
            with suppress(ChannelError):  # it died at once; its reader reports that
                worker.channel.send(question)
            until = time.monotonic() + longest_s
            while worker in self._workers:
                try:
                    sender, message = self._inbox.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    _kill(worker.pid)
                    problem = f"the simulation worker does not answer within {longest_s:g} s"
                    raise SetupError(f"{problem}: {self._last_words(worker)}") from None
                if sender not in self._workers:
                    continue
                if message is None:  # also another one than that: `run` would give it work
                    self._workers.remove(sender)
                    continue
                self._take_note(sender, message)
                if question.keys() & message.keys():
                    return message
        last = self._last_words(worker)
        raise SetupError(f"the simulation worker ended {_MOST_TRIES} times, without an answer: {last}")

    def run(
        self,
        trials: list[Trial],
        diagnose: set[str],
        enough: Callable[[], bool] = lambda: False,
        has_room: Callable[[int], bool] = lambda in_flight: True,
        watches: Sequence[Watch] = (),
        unfinished: Callable[[Trial], Path] | None = None,
        claim: Claim = lambda trial: True,
    ) -> Iterator[Outcome]:
        """Run the trials in this order; yields each outcome as it comes.

        `diagnose`: the tasks whose failures are to be explained. `enough`: asked before further trials are begun;
        once it is true those in flight are the last ones. `has_room`: whether one more may be begun beside so many;
        if none is in flight and there is no room, the run ends. `unfinished`: the file for what was said in a trial
        until it has a reward, for a further try by another worker or command. `claim`: asked before a trial is begun.
        Raises UserError for a mistake that only a worker can see, SetupError where no worker starts, Outage where
        a model does not answer for as long as may be.
        """
        self._last_yielded, self._watches, self._unfinished = None, watches, unfinished
        self._claim, self._failed_starts, self._deaths = claim, 0, 0
        self._elsewhere.clear()
        self._said_elsewhere = False
        waiting = deque(_Job(trial) for trial in trials)
        workers = min(self._most_workers(), self._experiment.max_concurrency, len(trials))
        while len(self._workers) < workers:
            self._start_worker()
        while True:
            if enough():
                waiting.clear()
                self._elsewhere.clear()
            self._look_again(waiting)
            yield from self._hand_out(waiting, diagnose, has_room)
            if not self._in_flight and not ((waiting or self._elsewhere) and has_room(0)):
                return
            if self._outages and (enough() or self._outages.is_over):
                self._abandon()
                self._outages.check()
                return
            self._end_silent_ones()
            try:
                worker, message = self._inbox.get(timeout=self._patience_s)
            except queue.Empty:
                continue
            if worker not in self._workers:
                continue
            if message is None:
                yield from self._bury(worker, waiting)
                continue
            self._take_note(worker, message)
            if "said" in message and message["job"] in worker.jobs:
                self._pass_on(worker.jobs[message["job"]].trial, message)
            if "outcome" in message:
                job, outcome = worker.jobs.pop(message["job"]), Outcome.from_json(message["outcome"])
                self._deaths = 0
                yield self._noted(replace(outcome, tries=max(outcome.tries, job.tries)))

    def _abandon(self) -> None:
        """End the simulations in flight. What was said in them is kept, and the next run goes on from there."""
        for worker in self._workers:
            worker.channel.close()
        self._workers.clear()

    @property
    def _patience_s(self) -> float:
        """How long to wait for a message before looking around."""
        return _LOOKS_AGAIN_S if self._elsewhere or self._outages else _LONGEST_SILENCE_S / 4

    def _look_again(self, waiting: deque[_Job]) -> None:
        """Whether other commands are still at trials that this run needs."""
        if time.monotonic() - self._looked_elsewhere >= _LOOKS_AGAIN_S:
            self._looked_elsewhere = time.monotonic()
            waiting.extend(self._elsewhere)
            self._elsewhere.clear()

    def _noted(self, outcome: Outcome) -> Outcome:
        self._last_yielded = outcome
        return outcome

    def _take_note(self, worker: _Worker, message: Message) -> None:
        """Of what it says about itself and about models. Raises UserError, and Outage."""
        if "user_error" in message:
            raise UserError(message["user_error"])
        if "ready" in message:
            worker.ready, self._failed_starts = True, 0
        if "limited" in message:
            self._tell_others(worker, message)
            for watch in self._watches:
                watch.limited(message["limited"], message["pause_s"])
        if message.keys() & {"down", "up"} and (news := self._outages.take(worker, message)):
            for watch in self._watches:
                watch.waits(news)

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

    def _hand_out(
        self, waiting: deque[_Job], diagnose: set[str], has_room: Callable[[int], bool]
    ) -> Iterator[Outcome]:
        """Give waiting jobs to the least busy worker while there is room for another conversation.

        Yields the outcomes that other commands have come to meanwhile.
        """
        while waiting and self._in_flight < self._experiment.max_concurrency and has_room(self._in_flight):
            share = math.ceil(
                self._experiment.max_concurrency / max(1, len(self._workers))
            )  # some may not be ready yet
            ready = [worker for worker in self._workers if worker.ready and len(worker.jobs) < share]
            if not ready or self._outages:
                return
            job = waiting.popleft()
            claimed = self._claim(job.trial)
            if isinstance(claimed, Outcome):
                yield self._noted(claimed)
            elif not claimed:
                self._elsewhere.append(job)
                self._say_elsewhere()
            elif not self._begin(job, min(ready, key=lambda one: len(one.jobs)), job.trial.task_id in diagnose):
                return

    def _say_elsewhere(self) -> None:
        if not self._said_elsewhere:
            self._said_elsewhere = True
            for watch in self._watches:
                watch.waits("another command is at trials of this run: waiting until it is done with them")

    def _begin(self, job: _Job, worker: _Worker, diagnose: bool) -> bool:
        """Whether the worker is there to be given it."""
        self._started += 1
        job.tries += 1
        worker.jobs[self._started] = job
        message = {
            "run": asdict(job.trial),
            "job": self._started,
            "diagnose": diagnose,
            "say": any(watch.wants_messages for watch in self._watches),
            "unfinished": str(self._unfinished(job.trial)) if self._unfinished else "",
        }
        try:
            worker.channel.send(message)
        except ChannelError:
            return False  # its reader reports the death, and the job waits again
        for watch in self._watches:
            watch.begun(job.trial)
        return True

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
            bound_s = _LONGEST_SILENCE_S if worker.ready else _LONGEST_START_S
            if now - worker.heard > bound_s and not worker.ended:
                _kill(worker.pid)
                worker.channel.close()

    def _bury(self, worker: _Worker, waiting: deque[_Job]) -> list[Outcome]:
        """Replace a dead worker. Its simulations wait again; those that were tried too often end here."""
        self._workers.remove(worker)
        self._outages.forget(worker)
        reason = f"the simulation worker ended: {self._last_words(worker)}"
        self._deaths += 1
        self._failed_starts += not worker.ready
        if self._failed_starts >= _MOST_FAILED_STARTS or self._deaths >= _MOST_DEATHS:
            raise SetupError(f"{self._deaths} workers in a row have ended and nothing came of them: {reason}")
        if not worker.ready:
            time.sleep(_FIRST_PAUSE_S * 2**self._failed_starts)
        self._replace()
        given_up = [job for job in worker.jobs.values() if job.tries >= _MOST_TRIES]
        waiting.extendleft(job for job in worker.jobs.values() if job.tries < _MOST_TRIES)
        return [Outcome(job.trial, Status(WorkerDied.status), None, reason) for job in given_up]

    def _most_workers(self) -> int:
        return allowed_cpus()

    def _replace(self) -> None:
        """A worker has died."""
        self._start_worker()

    def _begin_worker(self, log: Path) -> Channel:
        """A new worker's channel."""
        if self._forkserver is None or not self._forkserver.alive:
            self._forkserver = ForkServerProcess(
                self._experiment, self._log_folder / "forkserver.log", self._simulates
            )
        ours, theirs = socket.socketpair()
        self._forkserver.fork(theirs, log)
        return Channel(ours)

    def _start_worker(self) -> _Worker:
        log = self._log_folder / f"worker-{self._worker_count}.log"
        self._worker_count += 1
        worker = _Worker(self._begin_worker(log), log)
        self._workers.append(worker)
        threading.Thread(target=self._read, args=(worker,), daemon=True).start()
        store = Store(default_vault())
        setup = {
            "experiment": self._experiment.to_json(),
            "agents": dict(self._agents),
            "threads": self._experiment.max_concurrency,
            "folder": str(store.hosts_folder()),
            "layers": self._layers,
            "llm_cache": cache_folder() if self._experiment.llm_cache != "off" else "",
            "secret": digest(["hosts", store.secret()]),
            "private": [str(PACKAGE_ROOT), str(Path.cwd()), str(default_vault())],
        }
        with suppress(ChannelError):  # as above
            worker.channel.send({"setup": setup})
        return worker

    def _read(self, worker: _Worker) -> None:
        try:
            while (message := worker.channel.receive()) is not None:
                worker.heard = time.monotonic()
                worker.pid = message.get("pid", worker.pid)
                if not message.keys() & {"pid", "beat"}:
                    self._inbox.put((worker, message))
        except ChannelError:
            pass
        worker.ended = True
        self._inbox.put((worker, None))

    def _last_words(self, worker: _Worker) -> str:
        """What it wrote last, or the process that should have forked it."""
        for log in (worker.log, *([self._forkserver.log] if self._forkserver else [])):
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            if lines:
                return f"{lines[-1][:200]} (log: {log})"
        return f"without a word (log: {worker.log})"
