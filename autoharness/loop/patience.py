"""What the loop does if infrastructure fails: it waits, tries again, and in the end gives up."""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from autoharness.core.errors import Outage, RunLimitReached, UserError
from autoharness.core.exhausted import full_of
from autoharness.core.outcomes import Outcome, Trial
from autoharness.core.redaction import one_line
from autoharness.engine.trial_runner import Bench
from autoharness.gate.gate_run import COMMAND, fault, is_void, run_trials
from autoharness.vault.store import Store

PATIENCE_S = (60.0, 300.0, 900.0, 1800.0)
"""How long the loop waits before each new try if infrastructure fails. After the last one it gives up."""
_MANY_LOST = 0.2
"""The share of trials that infrastructure may lose before the loop waits for it."""


class Patience:
    """Waits and tries again. Each step of the loop begins with all waits."""

    def __init__(self, store: Store, waits_s: Sequence[float], why_stop_now: Callable[[], str]) -> None:
        """`why_stop_now`: why not to wait any longer; "" as long as nothing says so."""
        self._store, self._waits_s, self._why_stop_now = store, waits_s, why_stop_now

    def waits(self) -> Iterator[float]:
        """For one step: the seconds of each wait, which `wait` uses up."""
        return iter(self._waits_s)

    def wait(self, waits: Iterator[float], why: str) -> None:
        """Raises Outage if the loop has waited long enough, RunLimitReached if it is to stop.

        Raises UserError if a disk is full: waiting does not help there.
        """
        if full := full_of((self._store.vault, Path(), Path(tempfile.gettempdir()))):
            raise UserError(full)
        wait_s = next(waits, None)
        if wait_s is None:
            raise Outage(f"{why}. The same command goes on from here")
        print(f"[optimize] {one_line(why)}; again in {wait_s:g} s", file=sys.stderr, flush=True)
        until = time.monotonic() + wait_s
        while (left_s := until - time.monotonic()) > 0:
            if reason := self._why_stop_now():
                raise RunLimitReached(reason)
            time.sleep(min(1.0, left_s))

    def run_trials(self, bench: Bench, trials: list[Trial], incumbent: str) -> tuple[list[Outcome], str]:
        """Run trials. If infrastructure loses many of them, find out whether that is the edit's own doing.

        Returns the outcomes, and why the edit is refused, if so. Otherwise waits and runs those again. Raises Outage.
        """
        waits = self.waits()
        while True:
            outcomes = run_trials(bench, trials, COMMAND).outcomes
            lost = [one for one in outcomes if one.reward is None and not is_void(one)]
            if len(lost) <= _MANY_LOST * len(trials):
                return outcomes, ""
            the_edits = [one.trial for one in lost if one.trial.agent != incumbent]
            if len(the_edits) == len(lost):
                found = fault(bench, incumbent, the_edits)
                if found.is_the_candidates:
                    return outcomes, found.reason
            self.wait(
                waits, f"{len(lost)} of {len(trials)} simulations could not be evaluated: {lost[0].detail[:200]}"
            )
