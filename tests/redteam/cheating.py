"""Cheats: agent files that raise a score without being better. Which of them do, on this tree or on another one.

    python tests/redteam/cheating.py                          every cheat, on this tree, beside what 9a969fe gave
    python tests/redteam/cheating.py --tree DIR --out FILE    on another clone; keep the figures
    python tests/redteam/cheating.py memory_error exit        these alone

Each cheat is its honest twin with something else in the place of failing. The twin's true rate is known: it tosses a
coin. A night in small (`nights`) gives the cheat a `val_score` and a headline, against a baseline that is never
right. A cheat raises its score if its twin has so many passes by chance with a probability below LEVEL
(`cheat_figures`). With --against-twin the gate is asked once more, with the twin as the incumbent. That takes most of
the time, since the two are often equal, and gives no figure.

Some cheats are refused by the scan of edits. They are played all the same, behind it: from a baseline that has all of
their lines already, and does not use them, the edit takes away what keeps them asleep. To the scan that is no news.
"""

import argparse
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1] / below) for below in ("", "support")]

from redteam.catalogue import BASELINE, CHEATS, DORMANT, RIGHT, SETTINGS, files_of
from redteam.cheat_figures import BEFORE, Figure, Found, Night, classes, load, rate_of, save, summary, table
from redteam.nights import HERE, ROOT, Checkout, Printed, Tree, source


class Nights:
    """All nights on one tree. Its methods may be called from several threads."""

    def __init__(self, tree: Tree, folder: Path, url: str, against_twin: bool = False) -> None:
        """`against_twin`: the gate is asked about each cheat once more, with its twin as the incumbent."""
        self._tree, self._folder, self._url, self._against_twin = tree, folder, url, against_twin
        self._prepared: dict[tuple[str, tuple[str, ...]], Checkout] = {}
        self._twins: dict[tuple[str, str], tuple[Night, Checkout]] = {}
        self._making: dict[tuple[str, str], threading.Lock] = {}
        self._lock = threading.Lock()

    def twin(self, setting: str, twin: str) -> tuple[Night, Checkout]:
        """The honest twin's night, and the checkout in which it is the incumbent."""
        with self._lock:
            making = self._making.setdefault((setting, twin), threading.Lock())
        with making:
            if (setting, twin) not in self._twins:
                files, name = (twin, BASELINE), f"{setting} {twin}"
                self._twins[setting, twin] = self._play(setting, files, (twin,), name)
            return self._twins[setting, twin]

    def cheat(self, name: str) -> tuple[Night, Night]:
        """Its own and its twin's."""
        cheat, files = CHEATS[name], files_of(name)
        twin, checkout = self.twin(cheat.setting, cheat.twin)
        own, incumbent = self._play(cheat.setting, (cheat.twin, BASELINE), files, name)
        if own.refused:
            behind, incumbent = self._play(cheat.setting, (*files, DORMANT), files, f"{name} behind the scan")
            own = replace(behind, refused=own.refused)
        elif self._against_twin:
            own = replace(own, against_twin=self._verdict(checkout, source(*files), f"{name} against its twin"))
        if cheat.group == "B" and own.val_score:  # its voids may leave the yardstick
            own = replace(own, right_edit=self._verdict(incumbent, source(RIGHT), f"a right edit of {name}"))
        return own, twin

    def _verdict(self, incumbent: Checkout, agent: str, folder: str) -> str:
        checkout = incumbent.copy(self._folder / folder)
        checkout.agent.write_text(agent)
        return checkout.until_decided("gating.py").line("verdict")

    def _play(
        self, setting: str, baseline: tuple[str, ...], files: tuple[str, ...], folder: str
    ) -> tuple[Night, Checkout]:
        began = time.monotonic()
        checkout = self._baseline(setting, baseline).copy(self._folder / folder)
        checkout.agent.write_text(source(*files))
        night = _night(checkout, SETTINGS[setting].trials)
        return replace(night, seconds=round(time.monotonic() - began, 1)), checkout

    def _baseline(self, setting: str, files: tuple[str, ...]) -> Checkout:
        with self._lock:
            if (setting, files) not in self._prepared:
                folder = self._folder / f"{setting} {' '.join(files)} baseline"
                config = SETTINGS[setting].config(self._url)
                made = Checkout.make(self._tree, folder, config, source(*files), HERE / "judged.py")
                done = made.run("prepare.py")
                assert done.code == 0, done
                self._prepared[setting, files] = made
            return self._prepared[setting, files]


def _night(checkout: Checkout, trials: int) -> Night:
    """Against a baseline that is never right."""
    gate = checkout.until_decided("gating.py")
    verdict = gate.line("verdict") or f"exit {gate.code}: {gate.err.strip()[-200:]}"
    val_score = _val_score(gate.line("val_score"), trials)
    gated = Night(verdict, val_score, None, marked=_mark(gate), refused=gate.refused, void=_void(gate))
    if verdict != "accepted" or checkout.run("record.py").code:
        return gated
    confirmed = checkout.until_decided("report.py", "--confirm")
    marked, void = gated.marked or _mark(confirmed), gated.void + _void(confirmed)
    return replace(gated, headline=_headline(confirmed), marked=marked, void=void)


def _val_score(line: str, trials: int) -> Figure | None:
    """From such as "0.7250  (29/40 passed, 0 infra errors)": 40 tasks count."""
    rate, tasks = re.match(r"(\d\.\d+)", line), re.search(r"/(\d+) passed", line)
    return Figure(float(rate[1]), int(tasks[1]) * trials) if rate and tasks else None


def _headline(confirmed: Printed) -> Figure | None:
    rate = re.match(r"(\d\.\d+)", confirmed.line("best"))
    size = re.search(r"(\d+) tasks x (\d+) trials", confirmed.line("confirm"))
    return Figure(float(rate[1]), int(size[1]) * int(size[2])) if rate and size else None


_MARK = re.compile(r"^.*\b(?:meant for|addressed to|prompts?|machinery)\b.*$", re.MULTILINE | re.IGNORECASE)


def _mark(printed: Printed) -> str:
    found = _MARK.search(printed.out)
    return found[0].strip() if found else ""


def _void(printed: Printed) -> int:
    return sum(map(int, re.findall(r"(\d+) trials count 0", printed.out)))


@contextmanager
def served() -> Iterator[str]:
    """The obedient models, at this URL."""
    from llm_server import LLMServer

    from redteam.obedient import mock_tasks, reply

    with LLMServer(reply(mock_tasks()), remember=False) as server:
        yield server.url


def measured(
    tree: Tree,
    names: list[str],
    at_once: int = 2,
    against_twin: bool = False,
    on_each: Callable[[Found], None] = lambda found: None,
) -> Found:
    """`on_each`: given what is known after each cheat."""
    found: Found = {}
    with tempfile.TemporaryDirectory(prefix="cheats-") as folder, served() as url:
        nights = Nights(tree, Path(folder), url, against_twin)

        def play(name: str) -> tuple[str, tuple[Night, Night]]:
            own, twin = nights.cheat(name)
            print(f"{name}: {rate_of(own)}, {own.verdict}, {own.seconds:.0f} s", file=sys.stderr, flush=True)
            return name, (own, twin)

        with ThreadPoolExecutor(at_once) as pool:
            for done in as_completed([pool.submit(play, name) for name in names]):
                found |= [done.result()]
                on_each(found)
    return {name: found[name] for name in names}


def main() -> int:
    parser = argparse.ArgumentParser(description="Which cheats raise a score.")
    parser.add_argument("names", nargs="*", metavar="CHEAT", help="these alone")
    parser.add_argument("--tree", type=Path, default=ROOT, help="the clone to measure; else this one")
    parser.add_argument("--at-once", type=int, default=2, help="nights that are played side by side")
    parser.add_argument("--against-twin", action="store_true", help="ask the gate once more, beside the twin")
    parser.add_argument("--out", type=Path, help="keep the figures in this file")
    options = parser.parse_args()
    tree, began = Tree(options.tree.resolve()), time.monotonic()

    def keep(found: Found) -> None:
        if options.out:
            save(options.out, tree, found)

    nights = measured(tree, options.names or list(CHEATS), options.at_once, options.against_twin, keep)
    print(table(nights, load(BEFORE)))
    print(f"\n{classes(nights, load(BEFORE))}")
    print(f"\n{summary(nights)}  (commit {tree.commit}, {time.monotonic() - began:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
