"""Rate limiting: discovers from a provider's rate limit how many calls of one model may be in flight.

Every call of a worker process passes here. When the provider says "too many", all calls wait as long as it asks, and
half as many are in flight from then on; each answer lets a little more through again. So all calls together meet a
limit once, not each call again and again. If one worker meets a limit, the others are told.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 60.0


def pause_after(pauses: int, retry_after_s: float) -> float:
    """In seconds: as long as the provider asks, otherwise longer after each of the `pauses`; a minute at most."""
    pause_s: float = _FIRST_PAUSE_S * random.uniform(0.5, 1) * 2.0 ** min(pauses, 10)
    return min(max(pause_s, retry_after_s), _LONGEST_PAUSE_S)


class Throttle:
    """Lets calls of one model pass. Its methods may be called from many threads."""

    def __init__(self, on_limit: Callable[[float], None] = lambda pause_s: None) -> None:
        """`on_limit`: called with each pause that begins here, in seconds."""
        self._on_limit = on_limit
        self._changed = threading.Condition()
        self._in_flight = 0
        self._most: float | None = None
        """The most calls in flight at once; None until a limit was met."""
        self._resume = 0.0
        self._slowed = 0.0
        """When the last pause began: calls that began before it met the same limit."""
        self._pauses_in_a_row = 0
        self.answered = 0

    @contextmanager
    def slot(self) -> Iterator[float]:
        """Wait for a turn; yields the time at which it came."""
        with self._changed:
            while (wait_s := self._wait_s()) != 0:
                self._changed.wait(wait_s)
            self._in_flight += 1
        try:
            yield time.monotonic()
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def has_answered(self) -> None:
        with self._changed:
            self.answered += 1
            self._pauses_in_a_row = 0
            if self._most is not None:
                self._most += 1 / self._most
            self._changed.notify_all()

    def was_limited(self, begun: float, retry_after_s: float) -> None:
        """A call whose turn came at `begun` was told that there are too many."""
        with self._changed:
            if begun < self._slowed:
                return
            pause_s = pause_after(self._pauses_in_a_row, retry_after_s)
            self._pauses_in_a_row += 1
            self._pause(pause_s)
        self._on_limit(pause_s)

    def pause(self, pause_s: float) -> None:
        """Another worker has met the limit."""
        with self._changed:
            if time.monotonic() >= self._resume:
                self._pause(pause_s)

    def _pause(self, pause_s: float) -> None:
        self._most = max(1.0, self._in_flight / 2)
        self._slowed = time.monotonic()
        self._resume = self._slowed + pause_s

    def _wait_s(self) -> float | None:
        """0 for no wait, None until something changes."""
        pause_s = self._resume - time.monotonic()
        if pause_s > 0:
            return pause_s
        return 0.0 if self._most is None or self._in_flight < max(1.0, self._most) else None
