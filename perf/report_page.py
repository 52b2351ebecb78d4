"""How fast the report's page opens, beside a page of plotly's with the same map of tasks by edits and nothing else.

    python perf/report_page.py                     300 edits x 114 train tasks, every one of them run

Both are opened from disk in a headless Chromium, in turn, in new windows; timed until everything is loaded and two
frames were drawn. The vault is made up (report_vault.py). What a reader does next is timed on our page alone: find a
task and open its conversation.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support")]

from conftest import CHROMIUM_FLAGS  # noqa: E402

from autoharness.report.page import View, page  # noqa: E402
from autoharness.report.visible_trials import Trials  # noqa: E402
from perf.report_vault import Night, make_night  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edits", type=int, default=300)
    parser.add_argument("--tasks", type=int, default=114)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tasks = [str(number) for number in range(options.tasks)]
        store = make_night(Path(folder) / "vault", Night(options.edits, tasks, every_edit=True))
        started = time.monotonic()
        view = View.of(store, Trials(store), reveal=False)
        ours = Path(folder) / "report.html"
        ours.write_text(page(view))
        made_s = time.monotonic() - started
        theirs = Path(folder) / "plotly.html"
        theirs.write_text(_peer(view))
        print(f"page: {made_s:.1f} s to make, {ours.stat().st_size / 1e6:.1f} MB, {len(view.shown)} conversations")
        print(f"plotly: {theirs.stat().st_size / 1e6:.1f} MB, the map alone")
        opened, peer, read = _timed(ours, theirs, options.rounds)
    print(f"open: {median(opened):.2f} s, plotly {median(peer):.2f} s, ratio {median(opened) / median(peer):.2f}")
    print(f"find a task and read its conversation: {median(read):.2f} s")


def _peer(view: View) -> str:
    import plotly.graph_objects as graph

    cells = [[cell.reward for cell in view.map.row(task_id)] for task_id in view.tasks]
    html: str = graph.Figure(graph.Heatmap(z=cells, y=list(view.tasks))).to_html(include_plotlyjs=True)
    return html


def _timed(ours: Path, theirs: Path, rounds: int) -> tuple[list[float], list[float], list[float]]:
    from playwright.sync_api import sync_playwright

    opened, peer, read = [], [], []
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or "/usr/bin/chromium"
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        for _ in range(rounds):
            tab, seconds = _open(browser, ours)
            opened.append(seconds)
            started = time.monotonic()
            tab.keyboard.press("/")
            tab.keyboard.type("77")
            tab.keyboard.press("Enter")
            tab.wait_for_selector("dialog[open] .turn")
            read.append(time.monotonic() - started)
            tab.close()
            tab, seconds = _open(browser, theirs)
            peer.append(seconds)
            tab.close()
        browser.close()
    return opened, peer, read


def _open(browser: Any, file: Path) -> tuple[Any, float]:
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    started = time.monotonic()
    tab.goto(file.as_uri())
    tab.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    return tab, time.monotonic() - started


if __name__ == "__main__":
    main()
