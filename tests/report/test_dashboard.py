"""The same facts in a terminal: a panel where there is one, lines elsewhere; `optimize.py --watch` attaches."""

import io
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from checkout import Checkout
from conftest import ROOT
from loop_config import configured

from autoharness.core.outcomes import Trial
from autoharness.engine.live_runs import Live
from autoharness.engine.progress import Progress
from autoharness.loop.status import LOOP_LOCK, Phase, note_end, note_limits, note_phase
from autoharness.report.dashboard import Panel, chart, dashboard, watch
from autoharness.report.overview import Overview
from autoharness.vault.store import Store
from perf.report_vault import Night, make_night

MARKUP = "[bold red]not markup[/] \x1b[31mnor red"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_night(tmp_path / "vault", Night(5, ["1", "2"], MARKUP))


def _shown(store: Store) -> str:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=110, record=True)
    console.print(Panel(store).show(110))
    return console.export_text()


def test_the_panel_has_score_verdicts_cost_limits_and_runs(store: Store) -> None:
    note_phase(store, 6, Phase.GATE)
    note_limits(store, {"max_usd": 20.0, "max_iterations": 9})
    progress = Progress(shown=False)
    progress.begin("mock", 8, [], [])
    with store.lock(LOOP_LOCK), Live(store.new_run(), progress, "retail, gpt-5.4", {"2"}, at_most=False) as live:
        live.begun(Trial("1", 0, 0))
        live.begun(Trial("2", 0, 0))
        live.limited("gpt-5.4", 2.0)
        text = _shown(store)
    best = Overview.of(store).best
    for part in (
        "iteration 6, gate since",
        f"best {best.row.val_score:.4f} ({best.name})",
        "iteration 5: rejected  edit 5: [bold red]not markup[/]",
        "iteration 3: refused",
        "spent by the loop: $4.0000 of at most $20 (coding agent $2.50, agent $1.00, user $0.50, judge $0.00)",
        "limits: max_usd 20, max_iterations 9",
        "rate limit: gpt-5.4: met 1 times",
        "0/8  $0.0000, 2 in flight  retail, gpt-5.4",
    ):
        assert " ".join(part.split()) in " ".join(text.split()), part
    assert "\x1b" not in text


def test_before_the_baseline_the_panel_says_that_much(tmp_path: Path) -> None:
    assert "was never started here" in _shown(Store(tmp_path / "empty"))


def test_the_chart_is_the_best_score_so_far(store: Store) -> None:
    overview = Overview.of(store)
    [first, accepted] = [score for _, score in overview.kept_scores]
    lines = chart(overview, 70)
    assert lines[-1] == "       oxx-ox"
    for column, score in enumerate([first] * 4 + [accepted] * 2):
        eighths = sum(" ▁▂▃▄▅▆▇█".index(line[7 + column]) for line in lines[:-1])
        assert eighths / 40 == pytest.approx(score, abs=0.02)


def test_the_panel_reads_again_what_has_changed(store: Store) -> None:
    panel = Panel(store)
    panel.show(110)
    before = panel._overview
    panel.show(110)
    assert panel._overview is before
    store.count_holdout({"command": "benchmark.py"})
    panel.show(110)
    assert panel._overview is not before


def test_in_a_pipe_there_are_lines(store: Store) -> None:
    stream = io.StringIO()
    with dashboard(store, stream) as progress:
        progress.begin("mock", 1, [], [])
    assert stream.getvalue() == "[benchmark] 1 simulations: mock\n"


def test_watching_a_loop_that_has_ended_says_how(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    note_end(store, "max_hours: 8 of 8 hours are over")
    assert watch(store) == 0
    said = capsys.readouterr().err.splitlines()
    assert [line.partition("  ")[0] for line in said[:4]] == [
        "[watch] iteration 2: rejected",
        "[watch] iteration 3: refused",
        "[watch] iteration 4: accepted",
        "[watch] iteration 5: rejected",
    ]
    assert re.match(r"\[watch\] ended on .*: max_hours: 8 of 8 hours are over", said[4])
    assert said[5].startswith("[watch] spent $4.0000")


@pytest.mark.slow
def test_watch_follows_a_real_loop_to_its_end(prepared: Checkout) -> None:
    checkout = configured(prepared, "helps", "hurts")
    environment = os.environ | {"AUTOHARNESS_VAULT": str(checkout.vault), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "optimize.py"]
    with subprocess.Popen(
        command, cwd=checkout.root, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as loop:
        assert loop.stderr
        while "iteration 1: edit" not in loop.stderr.readline():
            pass
        drain = threading.Thread(target=loop.stderr.read)
        drain.start()
        watched = checkout.run("optimize.py", "--watch")
        assert loop.wait() == 0
        drain.join()
    assert watched.returncode == 0 and watched.stdout == ""
    said = watched.stderr
    assert re.search(r"\[watch\] iteration 1, \w+ since", said)
    assert re.search(r"\[watch\] iteration 1: (accepted|rejected|refused)  helps", said)
    assert re.search(r"\[watch\] iteration 2: \w+ +hurts", said)
    assert re.search(r"\[watch\] ended on .*: max_iterations: 2 of 2 iterations are done\n\[watch\] spent \$0", said)


@pytest.mark.slow
def test_benchmark_shows_the_panel_on_a_terminal_and_its_results_below(prepared: Checkout) -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"AUTOHARNESS_VAULT": str(prepared.vault), "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    command = [sys.executable, "benchmark.py", "--trials", "20"]
    with subprocess.Popen(
        command, cwd=prepared.root, env=environment | {"COLUMNS": "120"}, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        printed = b""
        while part := _read(ours):
            printed += part
        assert process.wait() == 0
    text = printed.decode()
    assert "╭─" in text and "(the baseline), baseline" in text
    assert re.search(r"\d+/\d+ passed \d+", text)
    assert "val_score: " in text[text.rindex("╰─") :]
    assert "simulations: mock" not in text


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other side is closed
        return b""


def test_words_of_a_coding_agent_are_no_markup_in_the_title_either(store: Store) -> None:
    note_end(store, "the coding agent fails: exit code 1: [/tmp/x] [bold]no \x1b[2J")
    text = _shown(store)
    assert "exit code 1: [/tmp/x] [bold]no" in text and "\x1b" not in text


def test_a_panel_that_cannot_be_shown_stops_no_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reason to patch: every file that it reads is checked, so that nothing is known to make it fail."""
    monkeypatch.setattr(Panel, "_read", lambda self: 1 / 0)
    assert "the panel cannot be shown: ZeroDivisionError" in _shown(store)


@pytest.mark.parametrize("line", ['{"iteration": 1, "usd": [1]}', '{"iteration": [1], "usd": {"agent": "x"}}', "[]"])
def test_a_damaged_line_of_spending_is_left_out(line: str, store: Store) -> None:
    with (store.folder / "spending.jsonl").open("a") as file:
        file.write(f"{line}\n")
    assert "spent by the loop: $4.0000" in _shown(store)


def test_the_chart_fits_a_narrow_terminal(store: Store) -> None:
    from rich.console import Console

    for width in (40, 80):
        console = Console(file=io.StringIO(), width=width, record=True)
        console.print(Panel(store).show(width))
        lines = console.export_text().splitlines()
        assert any(line.startswith("│  100 %") for line in lines)
        assert sum(line.startswith("│        o") for line in lines) == 1
    assert all(len(line) <= 3 + 7 for line in chart(Overview.of(store), 3))


def test_a_dumb_terminal_gets_lines(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    with dashboard(store, stream) as progress:
        progress.say("a line")
    assert stream.getvalue() == "[benchmark] a line\n"
