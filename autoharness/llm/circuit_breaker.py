"""A circuit breaker: if a model does not answer at all, a single call probes it, and the others wait.

After a call has failed, the model is asked something harmless, with the arguments of the experiment and no word of
the agent's. If it answers that, the failure was the request's own, or is over. If it does not, it is down: an agent's
words cannot cause that. Then the simulations of this worker wait, at no cost, until it answers again; the door is
told, begins nothing new, and decides how long to wait.
"""

import threading
import time
from collections.abc import Callable

from autoharness.llm.providers import ProviderFault

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_FOR_GOOD = 3
"""This many refusals in a row that waiting cannot fix, such as of a key, are no accident."""

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
