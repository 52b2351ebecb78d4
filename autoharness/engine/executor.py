"""Runs simulations on this machine in worker processes (`workers`), one for each core.

If a worker dies, or is silent for a minute, its simulations are given to another one, at most twice. If one worker
after the other dies and no simulation ends, the run ends with the last worker's message.
"""

import math
import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from autoharness.core.errors import ChannelError, SetupError, WorkerDied
from autoharness.core.outcomes import Outcome, Status, Trial
from autoharness.core.settings import Experiment
from autoharness.engine.machine import allowed_cpus
from autoharness.engine.messages import Down, FromWorker, Limited, RunTrial, Said, ToWorker, TrialEnded, Up, send
from autoharness.engine.workers import MOST_TRIES, Job, WorkerProcess, Workers
from autoharness.llm.circuit_breaker import Outages

_MOST_FAILED_STARTS = 3
_MOST_DEATHS = 9
"""After so many deaths of workers in a row, while no simulation ends, the run ends."""
_FIRST_PAUSE_S = 0.5
_LOOKS_AGAIN_S = 0.5
"""How often to check a trial that another command runs."""
_LONGEST_SILENCE_S = 60.0
_LONGEST_START_S = 300.0

Json = dict[str, Any]

Claim = Callable[[Trial], Outcome | bool]
"""Claim a trial. True: run it here. False: another command runs it. An outcome: another command has finished it."""


class Watch:
    """Is told what happens while trials run. Subclass it and define the methods you need."""

    def begun(self, trial: Trial) -> None:
        """A worker has been given the trial."""

    def limited(self, model: str, pause_s: float) -> None:
        """The model's provider says that there are too many calls."""

    def waits(self, why: str) -> None:
        """Why the run waits, or that models answer again."""

    @property
    def wants_messages(self) -> bool:
        """Whether workers are to send the messages of conversations."""
        return False

    def said(self, trial: Trial, place: int, message: Json) -> None:
        """A message of a conversation that is under way; its place counts from 0."""


class LocalExecutor(Workers):
    """Runs trials on worker processes of this machine. `use` says of which agent files."""

    _simulates = True

    def __init__(self, experiment: Experiment, log_folder: Path) -> None:
        super().__init__(experiment, log_folder)
        self._started = self._deaths = 0
        """Simulations begun; workers that died in a row while no simulation ended."""
        self._outages = Outages(experiment.max_outage_s)
        self._claim: Claim = lambda trial: True
        self._elsewhere: deque[Job] = deque()
        """Trials that other commands run."""
        self._looked_elsewhere = 0.0
        self._looked = 0.0
        """When the workers were last checked for silence."""
        self._said_elsewhere = False
        self._last_yielded: Outcome | None = None
        self._watches: Sequence[Watch] = ()
        self._unfinished: Callable[[Trial], Path] | None = None

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

        `diagnose`: the tasks whose failures are to be explained. `enough`: asked before further trials begin;
        once it is true those in flight are the last ones. `has_room`: whether one more may begin beside this many;
        if none may begin and none is in flight, the run ends. `unfinished`: the file for what was said in a trial
        until it has a reward, for another try by another worker or command. `claim`: asked before a trial begins.
        Raises UserError for a mistake that only a worker can see, SetupError if no worker starts, Outage if a model
        does not answer within `max_outage_s`.
        """
        self._last_yielded, self._watches, self._unfinished = None, watches, unfinished
        self._claim, self._failed_starts, self._deaths = claim, 0, 0
        self._elsewhere.clear()
        self._said_elsewhere = False
        waiting = deque(Job(trial) for trial in trials)
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
            if isinstance(message, Said) and message.job in worker.jobs:
                self._pass_on(worker.jobs[message.job].trial, message)
            if isinstance(message, TrialEnded):
                job, outcome = worker.jobs.pop(message.job), Outcome.from_json(message.outcome)
                self._deaths = 0
                yield self._noted(replace(outcome, tries=max(outcome.tries, job.tries)))

    def _abandon(self) -> None:
        """End the simulations in flight. What was said in them is kept, and the next run goes on from there."""
        for worker in self._workers:
            worker.channel.close()
        self._workers.clear()

    @property
    def _patience_s(self) -> float:
        """How long to wait for a message before checking other commands, models and silent workers."""
        return _LOOKS_AGAIN_S if self._elsewhere or self._outages else _LONGEST_SILENCE_S / 4

    def _end_silent_ones(self) -> None:
        """Kill workers that are stuck or stopped: they would keep their simulations. Readers report the death."""
        now = time.monotonic()
        if now - self._looked > _LONGEST_SILENCE_S / 2:  # this process stood still, and messages are unread
            for worker in self._workers:
                worker.heard = now
        self._looked = now
        for worker in self._workers:
            bound_s = _LONGEST_SILENCE_S if worker.ready else _LONGEST_START_S
            if now - worker.heard > bound_s and not worker.ended:
                worker.end()

    def _look_again(self, waiting: deque[Job]) -> None:
        """Check whether other commands still run trials that this run needs."""
        if time.monotonic() - self._looked_elsewhere >= _LOOKS_AGAIN_S:
            self._looked_elsewhere = time.monotonic()
            waiting.extend(self._elsewhere)
            self._elsewhere.clear()

    def _noted(self, outcome: Outcome) -> Outcome:
        self._last_yielded = outcome
        return outcome

    def _take_note(self, worker: WorkerProcess, message: FromWorker) -> None:
        """Note what a worker says about itself and about models. Raises UserError and Outage."""
        super()._take_note(worker, message)
        news = ""
        match message:
            case Limited(model, pause_s):
                self._tell_others(worker, message)
                for watch in self._watches:
                    watch.limited(model, pause_s)
            case Down(model, why, for_good):
                news = self._outages.begins(worker, model, why, for_good)
            case Up(model):
                news = self._outages.ends(worker, model)
        if news:
            for watch in self._watches:
                watch.waits(news)

    def _tell_others(self, sender: WorkerProcess, message: ToWorker) -> None:
        for worker in self._workers:
            if worker is not sender:
                with suppress(ChannelError):  # its reader reports the death
                    send(worker.channel, message)

    def finished(self) -> list[Outcome]:
        """After an interrupted `run`: the outcomes that may not have been handled yet, from the last one on."""
        outcomes = [self._last_yielded] if self._last_yielded else []
        while not self._inbox.empty():
            _, message = self._inbox.get()
            if isinstance(message, TrialEnded):
                outcomes.append(Outcome.from_json(message.outcome))
        return outcomes

    @property
    def _in_flight(self) -> int:
        return sum(len(worker.jobs) for worker in self._workers)

    def _hand_out(
        self, waiting: deque[Job], diagnose: set[str], has_room: Callable[[int], bool]
    ) -> Iterator[Outcome]:
        """Give waiting jobs to the least busy worker while another conversation may begin.

        Yields the outcomes that other commands have stored meanwhile.
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

    def _begin(self, job: Job, worker: WorkerProcess, diagnose: bool) -> bool:
        """Give the job to the worker. False if the worker is gone."""
        self._started += 1
        job.tries += 1
        worker.jobs[self._started] = job
        run = RunTrial(
            job=self._started,
            trial=asdict(job.trial),
            diagnose=diagnose,
            say=any(watch.wants_messages for watch in self._watches),
            unfinished=str(self._unfinished(job.trial)) if self._unfinished else "",
        )
        try:
            send(worker.channel, run)
        except ChannelError:
            return False  # its reader reports the death, and the job waits again
        for watch in self._watches:
            watch.begun(job.trial)
        return True

    def _pass_on(self, trial: Trial, said: Said) -> None:
        for watch in self._watches:
            if watch.wants_messages:
                watch.said(trial, said.place, said.message)

    def _bury(self, worker: WorkerProcess, waiting: deque[Job]) -> list[Outcome]:
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
        given_up = [job for job in worker.jobs.values() if job.tries >= MOST_TRIES]
        again = [job for job in worker.jobs.values() if job.tries < MOST_TRIES]
        waiting.extendleft(reversed(again))  # in the order in which they began
        return [Outcome(job.trial, Status(WorkerDied.status), None, reason) for job in given_up]

    def _most_workers(self) -> int:
        return allowed_cpus()

    def _replace(self) -> None:
        """Replace a worker that has died."""
        self._start_worker()
