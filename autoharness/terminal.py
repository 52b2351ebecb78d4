"""The same facts in a terminal: the best score so far, the last verdicts with their reasons, cost, what runs.

On a terminal it is a panel under the lines that scroll by; elsewhere there are only lines.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from autoharness.errors import UserError
from autoharness.overview import Attempt, Overview
from autoharness.progress import Progress
from autoharness.scrub import one_line
from autoharness.status import summary
from autoharness.store import Store
from autoharness.watch import Now, made_of

_EVERY_S = 0.5
_VERDICTS, _CHART_ROWS, _WIDEST_CHART = 4, 5, 72
_BLOCKS = " ▁▂▃▄▅▆▇█"
_COLOURS = {"accepted": "green", "rejected": "red"}


@contextmanager
def dashboard(store: Store, stream: TextIO | None = None) -> Iterator[Progress]:
    """Shows the panel on standard error while the block runs, where that is a terminal.

    Gives what runs in it are to report their progress to.
    """
    stream = stream or sys.stderr
    if not stream.isatty():
        yield Progress(stream)
        return
    from rich.console import Console
    from rich.live import Live

    panel, ended = Panel(store), threading.Event()
    with Live(panel.show(), console=Console(file=stream), auto_refresh=False, transient=True) as shown:

        def refresh() -> None:
            while not ended.wait(_EVERY_S):
                shown.update(panel.show(), refresh=True)

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
    said, ends = "", max(0, len(_finished(store)) - _VERDICTS)
    while True:
        now = Now.of(store)
        finished = _finished(store)
        yield from (f"[watch] {summary(one.iteration)}" for one in finished[ends:] if one.iteration)
        ends = max(ends, len(finished))
        tenths = [10 * (run.done * 10 // max(1, run.total)) for run in now.runs]
        if (news := f"{now.loop} {tenths}") != said:
            said = news
            runs = [f": {share} % of {run.total}, {run.facts}" for share, run in zip(tenths, now.runs, strict=True)]
            yield f"[watch] {now.loop}{''.join(runs[:1])}"
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

    def show(self) -> Any:
        """Something that rich can print."""
        from rich.console import Group
        from rich.panel import Panel as Box

        self._read()
        now = Now.of(self._store)
        parts = [*self._score(), *self._verdicts(), *_runs(now), _line("spent by the loop", now.spent)]
        parts += [_line("limits", now.limits)] if now.limits else []
        parts += [_line("rate limit", line) for line in now.rate_limits]
        return Box(Group(*parts), title=one_line(f"loop: {now.loop}", 100), title_align="left")

    def _read(self) -> None:
        version = made_of(self._store)
        if version == self._version:
            return
        self._version = version
        try:
            self._overview = Overview.of(self._store)
        except UserError:
            self._overview = None

    def _score(self) -> list[Any]:
        from rich.text import Text

        if not self._overview:
            return []
        best = self._overview.best
        score = best.row.val_score or 0.0
        head = f"best {score:.4f} ({best.name}), baseline {self._overview.baseline.row.val_score or 0.0:.4f}"
        return [_text(f"{head}, {best.row.measured}"), *map(Text, chart(self._overview))]

    def _verdicts(self) -> list[Any]:
        last: list[Attempt] = self._overview.finished[-_VERDICTS:] if self._overview else []
        return [
            _text(f"{one.name}: {one.end}  {one_line(one.idea, 60)}", _COLOURS.get(one.end, ""), why=one.why)
            for one in last
        ]


def chart(overview: Overview) -> list[str]:
    """The best score so far over the attempts, in block letters; below it what became of each."""
    heights, level = [], 0.0
    known = dict(overview.best_so_far)
    for place in range(len(overview.attempts) + 1):
        level = known.get(place, level)
        heights.append(level)
    marks = ["o", *({"accepted": "o", "rejected": "x"}.get(one.end, "-") for one in overview.attempts)]
    heights, marks = heights[-_WIDEST_CHART:], marks[-_WIDEST_CHART:]
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
            _text(f"{run.done}/{run.total}  {run.facts}, {len(run.in_flight) + run.held_out} in flight  {run.what}"),
            Padding(ProgressBar(total=max(1, run.total), completed=run.done), 0),  # on a line of its own
        )
        for run in now.runs
    ]


def _line(name: str, value: str) -> Any:
    return _text(f"{name}: {value}")


def _text(text: str, style: str = "", why: str = "") -> Any:
    """As it stands: what comes from a coding agent or a model must not be read as rich's markup."""
    from rich.text import Text

    found = Text(one_line(text, 200), style=style, overflow="ellipsis", no_wrap=True)
    return found.append(f"\n    {one_line(why, 160)}", style="dim") if why else found
