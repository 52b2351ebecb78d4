"""Progress of a run on standard error: a progress bar on a terminal, a few lines elsewhere."""

import sys
import time
from collections import Counter
from collections.abc import Collection
from typing import Any, TextIO

from autoharness.core.outcomes import Outcome, Usage, dollars, passed

_LINE_EVERY_S = 30.0
_HELD_OUT = "held out"


class Progress:
    """Shows passed, failed, errors, cost by role and time left.

    Of held-out tasks only how many were evaluated; those that were not count as errors, like any other's.
    """

    def __init__(self, stream: TextIO | None = None, shown: bool = True) -> None:
        """`shown`: False if something else shows the same; then it only counts."""
        self._stream, self._shown = stream or sys.stderr, shown

    def begin(
        self,
        what: str,
        total: int,
        known: Collection[Outcome],
        held_out: Collection[str],
        at_most: bool = False,
        partly: bool = False,
    ) -> None:
        """`what` says what is run; `known` are the outcomes that the store already has: they cost nothing now.

        `at_most`: fewer simulations may be enough. `partly`: the run has held-out tasks but not their whole split,
        so that their cost would tell how single ones ended.
        """
        self._at_most = "at most " if at_most else ""
        if self._shown:
            self.say(f"{self._at_most}{total} simulations: {what}")
        self._counts: Counter[str] = Counter()
        self._used: dict[str, Usage] = {}
        """By role. Held-out tasks count as one role: whom one asked, and how much, could tell how it ended."""
        self._bar: Any = None
        self.total, self._held_out, self._partly = total, set(held_out), partly
        self._reused = len(known)
        self._started = self._last_line = time.monotonic()
        for outcome in known:
            self._count(outcome)
        if self._reused and self._shown:
            self.say(f"{self._reused} of {total} simulations are in the store already")
        if self._shown and self._stream.isatty():
            self._bar = self._make_bar()

    def add(self, outcome: Outcome) -> None:
        self._count(outcome)
        held_out = outcome.trial.task_id in self._held_out
        for role, usage in outcome.usage.items():
            if not (held_out and self._partly):
                role = _HELD_OUT if held_out else role
                self._used[role] = self._used.get(role, Usage()) + usage
        if self._bar:
            self._bar.update(self._task, advance=1, facts=self.facts)
        elif self._shown and self._line_is_due():
            of = f" of {self._at_most}" if self._at_most else "/"
            self.say(f"{self.done}{of}{self.total}  {self.facts}, {self._at_most}{self._time_left()} left")

    def end(self) -> None:
        if self._bar:
            self._bar.stop()

    @property
    def facts(self) -> str:
        """Such as `passed 7, failed 4, errors 1, $0.1234 (agent $0.1000, user $0.0234)`; one role is not named."""
        counts = [
            f"{name} {self._counts[name]}" for name in ("passed", "failed", _HELD_OUT, "errors") if self._counts[name]
        ]
        roles = [
            f"{role} {dollars(used)}" for role, used in self._used.items() if used.cost_usd or used.uncosted_calls
        ]
        cost = dollars(sum(self._used.values(), Usage()))
        several = len(roles) > 1 and any(used.cost_usd for used in self._used.values())
        return ", ".join([*counts, f"{cost} ({', '.join(roles)})" if several else cost])

    @property
    def done(self) -> int:
        return sum(self._counts.values())

    def _count(self, outcome: Outcome) -> None:
        if outcome.reward is None:
            self._counts["errors"] += 1
        elif outcome.trial.task_id in self._held_out:
            self._counts[_HELD_OUT] += 1
        else:
            self._counts["passed" if passed(outcome.reward) else "failed"] += 1

    def _line_is_due(self) -> bool:
        """At every tenth of the run, at its end, and after half a minute of silence."""
        now = time.monotonic()
        tenth = self.done * 10 // self.total > (self.done - 1) * 10 // self.total
        if not tenth and now - self._last_line < _LINE_EVERY_S:
            return False
        self._last_line = now
        return True

    def _time_left(self) -> str:
        fresh = self.done - self._reused
        seconds = (time.monotonic() - self._started) / fresh * (self.total - self.done)
        return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"

    def say(self, *lines: str) -> None:
        for line in lines:
            print(f"[benchmark] {line}", file=self._stream, flush=True)

    def _make_bar(self) -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            BarColumn(),
            MofNCompleteColumn(separator=f" of {self._at_most}" if self._at_most else "/"),
            TextColumn("{task.fields[facts]}"),
            TextColumn(self._at_most),
            TimeRemainingColumn(),
        )
        bar = Bar(*columns, console=Console(file=self._stream))
        self._task = bar.add_task("", total=self.total, completed=self.done, facts=self.facts)
        bar.start()
        return bar
