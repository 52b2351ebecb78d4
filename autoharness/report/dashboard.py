"""The dashboard in a terminal: the kept version's score, the last verdicts with their reasons, cost, what runs.

On a terminal it is a panel under the lines that scroll by; elsewhere there are only lines.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from autoharness.core.errors import UserError
from autoharness.core.redaction import one_line
from autoharness.engine.live_runs import Going
from autoharness.engine.progress import Progress
from autoharness.loop.status import summary
from autoharness.report.overview import Attempt, Overview
from autoharness.report.watch import Now, made_of
from autoharness.vault.store import Store

_EVERY_S = 0.5
_VERDICTS, _CHART_ROWS = 4, 5
_BESIDE = 11
"""Columns that the chart leaves to its labels and the frame."""
_BLOCKS = " ▁▂▃▄▅▆▇█"
_COLOURS = {"accepted": "green", "rejected": "red"}


@contextmanager
def dashboard(store: Store, stream: TextIO | None = None) -> Iterator[Progress]:
    """Shows the panel on standard error while the block runs, if that is a terminal.

    Yields the object to which runs in the block report their progress.
    """
    stream = stream or sys.stderr
    if not stream.isatty():
        yield Progress(stream)
        return
    from rich.console import Console
    from rich.live import Live

    panel, ended, console = Panel(store), threading.Event(), Console(file=stream)
    if console.is_dumb_terminal:
        yield Progress(stream)
        return
    with Live(
        panel.show(console.width), console=console, auto_refresh=False, transient=True, redirect_stdout=False
    ) as shown:
        console.show_cursor(True)  # a kill would leave the terminal without one

        def refresh() -> None:
            while not ended.wait(_EVERY_S):
                shown.update(panel.show(console.width), refresh=True)

        thread = threading.Thread(target=refresh, daemon=True)
        thread.start()
        try:
            yield Progress(shown=False)
        finally:
            ended.set()
            thread.join()


def watch(store: Store) -> int:
    """`optimize.py --watch`: attach to a loop that runs elsewhere, until it ends or Ctrl-C. Exit code 0."""
    try:
        with dashboard(store):
            for line in _news(store):
                print(line, file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("[watch] the loop goes on", file=sys.stderr)
    return 0


def _news(store: Store) -> Iterator[str]:
    """A line whenever the loop says something new, or more of a run is done; ends with the loop."""
    said, version, finished = "", made_of(store), _finished(store)
    ends = max(0, len(finished) - _VERDICTS)
    while True:
        now = Now.of(store)
        if (found := made_of(store)) != version:
            version, finished = found, _finished(store)
        yield from (f"[watch] {summary(one.iteration)}" for one in finished[ends:] if one.iteration)
        ends = max(ends, len(finished))
        tenths = [10 * (run.done * 10 // max(1, run.total)) for run in now.runs]
        if (news := f"{now.loop} {tenths}") != said:
            said = news
            runs = [f": {share} % of {run.total}, {run.facts}" for share, run in zip(tenths, now.runs, strict=True)]
            yield f"[watch] {one_line(now.loop + ''.join(runs[:1]), 400)}"
        if not now.running:
            yield f"[watch] spent {now.spent}"
            return
        time.sleep(_EVERY_S)


def _finished(store: Store) -> list[Attempt]:
    try:
        return Overview.of(store).finished
    except UserError:
        return []


class Panel:
    """What the terminal shows. Reads again only what has changed."""

    def __init__(self, store: Store) -> None:
        self._store, self._version = store, ""
        self._overview: Overview | None = None
        """None before the baseline."""

    def show(self, width: int) -> Any:
        """Something that rich can print. If it fails, no run is stopped."""
        from rich.panel import Panel as Box
        from rich.text import Text

        try:
            self._read()
            now = Now.of(self._store)
            return Box(self._parts(now, width), title=Text(one_line(f"loop: {now.loop}", 100)), title_align="left")
        except Exception as error:
            return Text(one_line(f"the panel cannot be shown: {error!r}"), no_wrap=True)

    def _parts(self, now: Now, width: int) -> Any:
        from rich.console import Group

        parts = [*self._score(width), *self._verdicts(), *_runs(now), _line("spent by the loop", now.spent)]
        parts += [_line("limits", now.limits)] if now.limits else []
        return Group(*parts, *(_line("rate limit", line) for line in now.rate_limits))

    def _read(self) -> None:
        version = made_of(self._store)
        if version == self._version:
            return
        self._version = version
        try:
            self._overview = Overview.of(self._store)
        except UserError:
            self._overview = None

    def _score(self, width: int) -> list[Any]:
        from rich.text import Text

        if not self._overview:
            return []
        best = self._overview.best
        score = best.row.val_score or 0.0
        head = f"best {score:.4f} ({best.name}), baseline {self._overview.baseline.row.val_score or 0.0:.4f}"
        simulated = ", simulated" if best.row.simulated else ""
        return [_text(f"{head}, {best.row.measured}{simulated}"), *map(Text, chart(self._overview, width - _BESIDE))]

    def _verdicts(self) -> list[Any]:
        last: list[Attempt] = self._overview.finished[-_VERDICTS:] if self._overview else []
        return [
            _text(f"{one.name}: {one.end}  {one_line(one.idea, 60)}", _COLOURS.get(one.end, ""), why=one.why)
            for one in last
        ]


def chart(overview: Overview, most: int) -> list[str]:
    """The kept version's score over the last attempts, in block letters; below it what became of each."""
    heights, level = [], 0.0
    known = dict(overview.kept_scores)
    for place in range(len(overview.attempts) + 1):
        level = known.get(place, level)
        heights.append(level)
    marks = ["o", *({"accepted": "o", "rejected": "x"}.get(one.end, "-") for one in overview.attempts)]
    heights, marks = heights[-max(1, most) :], marks[-max(1, most) :]
    lines = []
    for row in reversed(range(_CHART_ROWS)):
        filled = [min(1.0, max(0.0, height * _CHART_ROWS - row)) for height in heights]
        label = f"{100 * (row + 1) // _CHART_ROWS:>4} % "
        lines.append(label + "".join(_BLOCKS[round(part * (len(_BLOCKS) - 1))] for part in filled))
    return [*lines, f"       {''.join(marks)}"]


def _runs(now: Now) -> list[Any]:
    from rich.console import Group
    from rich.padding import Padding
    from rich.progress_bar import ProgressBar

    return [
        Group(
            _text(_in_words(run)),
            Padding(ProgressBar(total=max(1, run.total), completed=run.done), 0),  # on a line of its own
        )
        for run in now.runs
    ]


def _in_words(run: Going) -> str:
    most = "at most " if run.at_most else ""
    return f"{run.done}/{most}{run.total}  {run.facts}, {len(run.in_flight) + run.held_out} in flight  {run.what}"


def _line(name: str, value: str) -> Any:
    return _text(f"{name}: {value}")


def _text(text: str, style: str = "", why: str = "") -> Any:
    """Plain text: what comes from a coding agent or a model must not be read as rich's markup."""
    from rich.text import Text

    found = Text(one_line(text, 200), style=style, overflow="ellipsis", no_wrap=True)
    return found.append(f"\n    {one_line(why, 160)}", style="dim") if why else found
