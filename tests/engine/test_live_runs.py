"""What runs right now: seen by any process, gone with the run however that ends, and without held-out names."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from checkout import Checkout

from autoharness.core.outcomes import Outcome, Status, Trial
from autoharness.engine.live_runs import Going, InFlight, Live, going
from autoharness.engine.progress import Progress
from autoharness.loop.status import status_lines
from autoharness.report.watch import Now
from autoharness.vault.ledger import Ledger
from autoharness.vault.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "vault")


def _progress() -> Progress:
    progress = Progress(shown=False)
    progress.begin("mock", 5, [], {"hidden"})
    return progress


def _only(store: Store) -> Going:
    [run] = going(store)
    return run


def test_a_run_is_seen_while_it_goes_on(store: Store) -> None:
    progress = _progress()
    one, other, hidden = (Trial(task_id, 0, 0) for task_id in ("1", "2", "hidden"))
    with Live(store.new_run(), progress, "mock, clerk", {"hidden"}, at_most=True) as live:
        for trial in (one, other, hidden):
            live.begun(trial)
        progress.add(Outcome(one, Status.PASSED, 1.0))
        live.ended(one)
        live.limited("gpt-5.4", 2.5)
        live.limited("gpt-5.4", 5.0)
        run = _only(store)
        assert (run.what, run.total, run.done, run.at_most) == ("mock, clerk", 5, 1, True)
        assert run.facts == "passed 1, $0.0000"
        assert run.in_flight == [InFlight("2", run.in_flight[0].since)]
        assert run.held_out == 1
        assert (run.rate_limits["gpt-5.4"].times, run.rate_limits["gpt-5.4"].pause_s) == (2, 5.0)
        assert "hidden" not in next(store.folder.glob("runs/*/live.json")).read_text()
    assert going(store) == []
    assert not list(store.folder.glob("runs/*/live*"))


def test_what_a_run_waits_for_is_seen_until_it_begins_something(store: Store) -> None:
    with Live(store.new_run(), _progress(), "mock, clerk", set(), at_most=False) as live:
        live.waits("gpt-5.4 answers nothing:\n503")
        assert _only(store).waits == "gpt-5.4 answers nothing: 503"
        assert "waits: gpt-5.4 answers nothing: 503" in status_lines(store)
        assert Now.of(store).loop.endswith("; gpt-5.4 answers nothing: 503")
        live.begun(Trial("1", 0, 0))
        assert _only(store).waits == "" and not [line for line in status_lines(store) if line.startswith("waits")]


def test_runs_side_by_side_are_all_seen(store: Store) -> None:
    with (
        Live(store.new_run(), _progress(), "first", set(), at_most=False),
        Live(store.new_run(), _progress(), "second", set(), at_most=False),
    ):
        assert [run.what for run in going(store)] == ["second", "first"]


def test_what_a_killed_run_noted_last_is_no_news(store: Store) -> None:
    code = (
        "import sys, time; from pathlib import Path; from autoharness.engine.live_runs import Live; "
        "from autoharness.engine.progress import Progress; p = Progress(shown=False); p.begin('x', 1, [], []); "
        "l = Live(Path(sys.argv[1]), p, 'killed', set(), False); l.__enter__(); print('ready', flush=True); "
        "time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(store.new_run())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "ready\n"
        assert _only(store).what == "killed"
        os.kill(process.pid, signal.SIGKILL)
    assert list(store.folder.glob("runs/*/live.json"))
    assert going(store) == []


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"what": 1}'])
def test_a_note_that_cannot_be_read_is_none(content: str, store: Store) -> None:
    with Live(store.new_run(), _progress(), "mock", set(), at_most=False):
        next(store.folder.glob("runs/*/live.json")).write_text(content)
        assert going(store) == []


def test_a_note_that_cannot_be_written_stops_nothing(store: Store) -> None:
    folder = store.new_run()
    with Live(folder, _progress(), "mock", set(), at_most=False) as live:
        (folder / "live.json").unlink()
        (folder / "live.new").mkdir()
        live.begun(Trial("1", 0, 0))


@pytest.mark.slow
def test_a_real_run_notes_its_simulations_and_leaves_no_note(prepared: Checkout) -> None:
    """The whole mock domain, watched from outside: train tasks by name, held-out ones as a number."""
    (prepared.root / "experiment_config.yaml").write_text(
        "domain: mock\nagent_model: offline/clerk\nmax_concurrency: 2\nseed: 7\n"
    )
    store, seen = Store(prepared.vault), []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.extend(going(store))
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    ran = prepared.run("benchmark.py", "--split", "base", "--trials", "3")
    done.set()
    watcher.join()
    assert ran.returncode == 0, ran.stderr
    named = {one.task for run in seen for one in run.in_flight}
    assert named and any(run.held_out for run in seen)
    held_out = {task_id for row in Ledger(store).all_rows for task_id in row.tasks}
    assert not named & held_out
    assert all(len(run.in_flight) + run.held_out <= 2 for run in seen)
    assert going(store) == []
