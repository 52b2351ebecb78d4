"""Callbacks tell your own code what happens in a run: `TauBenchRunner(..., callbacks=[...])`.

class Scores(Callback):
    def on_trial_end(self, outcome: Outcome) -> None:
        print(outcome.trial.task_id, outcome.trial.number, outcome.status, outcome.reward)
"""

import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from autoharness.core.outcomes import Outcome, Trial
from autoharness.engine.executor import Watch

Json = dict[str, Any]


class Callback:
    """Subclass it and define the methods you need. They are called one after the other, in the caller's thread.

    A trial that the vault has starts and ends like any other, at once: nothing is run, its outcome is the stored one.
    An outcome is stored before a callback is told. If a callback raises, its traceback is printed, the run goes on to
    its end, and then the first exception is raised: no trial that was paid for is lost. Ctrl-C ends the run.
    """

    def on_run_start(self, trials: Sequence[Trial]) -> None:
        """Before anything is run. `trials`: all that are wanted."""

    def on_task_start(self, task_id: str) -> None:
        """Before its first trial."""

    def on_trial_start(self, trial: Trial) -> None:
        """A trial whose worker dies is run again, and starts once."""

    def on_message(self, trial: Trial, place: int, message: Json) -> None:
        """A message of the conversation, as it is said: {"role", "content", "tool_calls", ...}.

        `place` counts from 0; if it is 0 again, something broke the conversation off and it began anew. Workers
        send messages only if a callback defines this.
        """

    def on_trial_end(self, outcome: Outcome) -> None:
        """The outcome has it all: task, number and seed, status, reward, checks, messages, usage, times, error."""

    def on_task_end(self, task_id: str, outcomes: Sequence[Outcome]) -> None:
        """After the last of its trials; not called if the run ended before that."""

    def on_run_end(self, outcomes: Sequence[Outcome]) -> None:
        """At the end, whatever ended the run."""


class Told(Watch):
    """Tells the callbacks of one run."""

    def __init__(self, callbacks: Sequence[Callback], trials: Sequence[Trial]) -> None:
        self._callbacks = callbacks
        self._trials = trials
        self._planned = Counter(trial.task_id for trial in trials)
        self._begun: set[Trial] = set()
        self._ended: dict[str, list[Outcome]] = {}
        self._complained: set[tuple[int, str]] = set()
        self.failure: Exception | None = None
        """The first exception that a callback raised."""

    @property
    def wants_messages(self) -> bool:
        return any(type(one).on_message is not Callback.on_message for one in self._callbacks)

    def run_starts(self) -> None:
        self._tell("on_run_start", self._trials)

    def begun(self, trial: Trial) -> None:
        if trial in self._begun:
            return
        self._begun.add(trial)
        if trial.task_id not in self._ended:
            self._ended[trial.task_id] = []
            self._tell("on_task_start", trial.task_id)
        self._tell("on_trial_start", trial)

    def said(self, trial: Trial, place: int, message: Json) -> None:
        self._tell("on_message", trial, place, message)

    def ended(self, outcome: Outcome) -> None:
        task_id = outcome.trial.task_id
        self.begun(outcome.trial)
        self._tell("on_trial_end", outcome)
        self._ended[task_id].append(outcome)
        if len(self._ended[task_id]) == self._planned[task_id]:
            self._tell("on_task_end", task_id, self._ended[task_id])

    def run_ends(self, outcomes: Sequence[Outcome]) -> None:
        self._tell("on_run_end", outcomes)

    def _tell(self, hook: str, *arguments: Any) -> None:
        for callback in self._callbacks:
            call: Callable[..., None] = getattr(callback, hook)
            try:
                call(*arguments)
            except Exception as error:  # a mistake in a callback must not lose what was paid for
                self.failure = self.failure or error
                if (id(callback), hook) not in self._complained:
                    self._complained.add((id(callback), hook))
                    traceback.print_exc()
