"""When the loop ends: a person asks for it, or max_iterations, max_hours or max_without_gain is reached.

`loop_budget` has what the loop may spend.
"""

import time
from collections.abc import Callable

from autoharness.engine.score_identity import Measure
from autoharness.vault.iterations import ACCEPTED, OVERTAKEN, Iterations


class WorkClock:
    """How long the loop has worked, in all its commands together."""

    def __init__(self, before_s: float) -> None:
        """`before_s`: how long earlier commands have worked."""
        self._worked_s, self._since = before_s, time.monotonic()

    def lap_s(self) -> float:
        """The seconds since the last call, or since the start."""
        elapsed_s, self._since = time.monotonic() - self._since, time.monotonic()
        self._worked_s += elapsed_s
        return elapsed_s

    @property
    def hours(self) -> float:
        return (self._worked_s + time.monotonic() - self._since) / 3600


class StopRules:
    """Each answer is the reason to stop; "" as long as there is none."""

    def __init__(
        self, measure: Measure, iterations: Iterations, clock: WorkClock, stop_reason: Callable[[], str]
    ) -> None:
        """`stop_reason`: why a person wants it to end; "" as long as nobody does."""
        self._measure, self._iterations, self._clock = measure, iterations, clock
        self._stop_reason = stop_reason

    def why_stop(self) -> str:
        """Asked before an iteration begins or goes on."""
        settings = self._measure.experiment
        finished = [one for one in self._iterations.all(self._measure.id) if one.finished]
        if reason := self.why_stop_now():
            return reason
        if len(finished) >= settings.max_iterations:
            return f"max_iterations: {len(finished)} of {settings.max_iterations} iterations are done"
        ends = [one.end for one in reversed(finished) if one.end != OVERTAKEN]
        without = ends.index(ACCEPTED) if ACCEPTED in ends else len(ends)
        if without >= settings.max_without_gain:
            return f"max_without_gain: {without} iterations in a row without an accepted edit"
        return ""

    def why_stop_now(self) -> str:
        """Reasons that also end an iteration half-way; what was finished is kept."""
        hours, most = self._clock.hours, self._measure.experiment.max_hours
        if reason := self._stop_reason():
            return reason
        return f"max_hours: {hours:.2f} of {most:g} hours are over" if hours >= most else ""
