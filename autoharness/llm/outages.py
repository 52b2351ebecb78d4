"""Outages of models: which are down, as the workers of a run report, and how long the run waits for them."""

import time
from collections.abc import Hashable

from autoharness.core.errors import Outage

_LIMIT = "max_outage_s"
_LONGEST_WHY = 400


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


_GOES_ON = "What was finished is kept, and so is what was said in the others: the same command goes on from there"
