"""A model that answers nothing: a single call probes it, the others wait, and the run decides how long.

After a call has failed, the model is asked something harmless, with the arguments of the experiment and no word of
the agent's. If it answers that, the failure was the request's own, or is over. If it does not, it is down: an agent's
words cannot cause that. Then the simulations of this worker wait, at no cost, until it answers again (`Breaker`); the
door is told, begins nothing new, and decides how long to wait (`Outages`).
"""

import threading
import time
from collections.abc import Callable, Hashable

from autoharness.core.errors import Outage
from autoharness.llm.providers import ProviderFault

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_FOR_GOOD = 3
"""This many refusals in a row that waiting cannot fix, such as of a key, are no accident."""
_LIMIT = "max_outage_s"
_LONGEST_WHY = 400
_GOES_ON = "What was finished is kept, and so is what was said in the others: the same command goes on from there"

Probe = Callable[[], ProviderFault | None]
"""Asks the model something harmless. Returns the fault, or None if it answered."""
Tell = Callable[[str, bool], None]
"""Told why a model is down, and whether waiting cannot fix that; "" once it answers again."""


def _asked(probe: Probe) -> ProviderFault | None:
    try:
        return probe()
    except Exception as error:  # a bug must not leave the door waiting for news
        return ProviderFault(f"asking it failed: {error!r}")


class Breaker:
    """The circuit breaker of one role's model. Its methods may be called from many threads."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._changed = threading.Condition()
        self._probing = self._down = False
        self._outages = 0
        self._answered = 0.0

    def wait(self) -> None:
        """Wait until the model is not known to be down."""
        with self._changed:
            self._changed.wait_for(lambda: not self._down)

    def has_answered(self) -> None:
        self._answered = time.monotonic()

    def outlast(self, since: float, probe: Probe) -> bool:
        """For a call that began at `since` and failed: whether the model was down, and answers again by now.

        False if the model is up, so that the failure is the request's own.
        """
        with self._changed:
            before = self._outages
            if self._probing:
                self._changed.wait_for(lambda: not self._probing)
                return self._outages > before
            if self._answered > since:
                return False
            self._probing = True
        try:
            return self._probe(probe)
        finally:
            with self._changed:
                self._probing = self._down = False
                self._changed.notify_all()

    def _probe(self, probe: Probe) -> bool:
        told, refusals, pause_s = "", 0, _FIRST_PAUSE_S
        while fault := _asked(probe):
            with self._changed:
                self._down = True
            refusals = 0 if fault.retryable else refusals + 1
            for_good = refusals == _FOR_GOOD
            if for_good or (not told and not refusals):
                told = str(fault)
                self._tell(told, for_good)
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        if told:
            self._tell("", False)
        if not self._down:
            return False
        self.has_answered()
        with self._changed:
            self._outages += 1
        return True


class Outages:
    """The models that are down, in one run."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._down: dict[tuple[Hashable, str], str] = {}
        """By worker and model: why."""
        self._since = 0.0

    def __bool__(self) -> bool:
        """Whether a model is down now."""
        return bool(self._down)

    def begins(self, worker: Hashable, model: str, why: str, for_good: bool = False) -> str:
        """A worker reports that the model is down; `for_good`: waiting cannot fix it.

        Returns what to tell the user; "" for no news. Raises Outage if it is for good.
        """
        why = why[:_LONGEST_WHY]
        if for_good:
            raise Outage(f"{model} refuses whatever it is asked: {why}. {_GOES_ON}")
        news = not self._down
        self._since = time.monotonic() if news else self._since
        self._down[worker, model] = why
        most = f"for up to {self._longest_s / 60:.3g} min ({_LIMIT})"
        return f"{model} answers nothing: {why}. No simulation is begun; it is asked again {most}" if news else ""

    def ends(self, worker: Hashable, model: str) -> str:
        """A worker reports that the model answers again. Returns what to tell the user; "" for no news."""
        self.forget(worker, model)
        return "" if self._down else f"{model} answers again: the run goes on"

    def forget(self, worker: Hashable, model: str | None = None) -> None:
        """Forget what this worker said about a model; None: about all models."""
        self._down = {
            place: why for place, why in self._down.items() if place[0] != worker or model not in (None, place[1])
        }

    @property
    def is_over(self) -> bool:
        """Whether the run has waited long enough for a model."""
        return bool(self._down) and time.monotonic() - self._since >= self._longest_s

    def check(self) -> None:
        """Forget all, for the next run. Raises Outage if the run has waited long enough for a model."""
        down, is_over = self._down, self.is_over
        self._down = {}
        if is_over:
            (_, model), why = next(iter(down.items()))
            raise Outage(f"{model} has answered nothing for {self._longest_s:g} s ({_LIMIT}): {why}. {_GOES_ON}")
