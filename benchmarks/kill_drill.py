"""Kills the loop with SIGKILL, again and again, and looks at whether it comes to what an undisturbed run comes to.

    python benchmarks/kill_drill.py              thirty runs

Each run is killed in two or three given phases and once at a random moment, and started again until it ends by
itself. Over all runs every phase is killed in at least once. The tests do three, of one edit, without the random one.
Compared with the undisturbed run: the verdicts and their
reasons, the tree of every commit, each trial that a verdict rests on, and each train trial (times aside); and no
evaluated trial may have been run twice.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from checkout import Checkout  # noqa: E402

from autoharness.iterations import Iterations  # noqa: E402
from autoharness.ledger import Gate, Ledger, Measured  # noqa: E402
from autoharness.results import EVALUATED  # noqa: E402
from autoharness.store import Store  # noqa: E402

MADE = "commit made"
"""No phase of its own: git has the commit, and the ledger does not know it yet."""
PLANS = (("edit", "train"), ("screening", "commit", MADE), ("gate", "learn"))
"""Where to kill one run, in the order of the story. Train: of the version that was accepted."""
PHASES = tuple(phase for plan in PLANS for phase in plan)
EDITS = ("ask-for-care", "shorter-code")
"""One that is accepted, one that is rejected."""
_LONGEST_RUN_S = 300.0
_LONGEST_DELAY_S = {
    "train": 0.3,
    "edit": 0.15,
    "screening": 0.3,
    "gate": 0.5,
    "commit": 0.015,
    "learn": 0.005,
    MADE: 0.0,
}
"""After the phase was entered."""

Json = dict[str, Any]


@dataclass
class Run:
    """One run of the loop, killed and started again until it was done."""

    killed_in: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


def prepared(folder: Path, concurrency: int, edits: tuple[str, ...]) -> Checkout:
    bank = ROOT / "examples" / "edits.py"
    arguments = json.dumps(["--bank", str(bank), "--names", *edits])
    checkout = Checkout.make(
        folder,
        f"domain: mock\nagent_model: offline/clerk\nmax_concurrency: {concurrency}\nmax_trials: 3\n"
        f"coding_agent: scripted\ncoding_agent_args: {arguments}\nmax_iterations: {len(edits)}\n",
    )
    done = checkout.run("prepare.py")
    assert done.returncode == 0, done.stderr
    return checkout


def drill(checkout: Checkout, expected: Json, plan: tuple[str, ...], chance: random.Random) -> Run:
    """Kill it in each of these phases ("" stands for a random moment); then compare."""
    run = Run()
    for phase in plan:
        if killed_in := _killed(checkout, phase, chance):
            run.killed_in.append(killed_in)
    done = checkout.run("optimize.py")
    if done.returncode:
        run.differences.append(f"it ended with exit code {done.returncode}: {done.stderr[-500:]}")
    found = what_it_came_to(checkout)
    run.differences += [name for name in expected if found[name] != expected[name]]
    return run


def what_it_came_to(checkout: Checkout) -> Json:
    """All that must not depend on how often it was killed."""
    store = Store(checkout.vault)
    ledger, iterations = Ledger(store), Iterations(store).all()
    looks = {
        look.key
        for row in ledger.rows
        for look in [*row.looks, *(row.score_looks + row.suite_looks if isinstance(row, Measured) else [])]
    }
    trials = {path.stem: _without_times(path) for path in (checkout.vault / "trials").glob("*.json")}
    train = {key for key, trial in trials.items() if trial["key"]["task"] in ledger.versions[0].row.train}
    spent = [json.loads(line) for line in store.read_lines("spending.jsonl")]
    evaluated = Counter(json.dumps(one["trial"]) for one in spent if one.get("status") in EVALUATED)
    return {
        "verdicts": [(one.number, one.end, list(map(_words, one.reasons)), one.hits) for one in iterations],
        "rows": [_row(row) for row in ledger.rows],
        "trees": checkout.git("log", "--format=%T").split(),
        "trials of verdicts": {key: trials[key] for key in sorted(looks) if key},
        "train trials": {key: trials[key] for key in sorted(train)},
        "trials that were run twice": {trial: times for trial, times in evaluated.items() if times > 1},
        "learnings": re.findall(
            r"^## .+(?= \()", (checkout.root / "workspace" / "learnings.md").read_text(), re.MULTILINE
        ),
        "worktrees": checkout.git("worktree", "list").count("\n"),
    }


def _row(row: Any) -> Json:
    looks = [(look.side, look.task_id, look.number, look.reward) for look in row.looks]
    gate = (row.verdict, row.bought, row.questions, list(map(_words, row.reasons))) if isinstance(row, Gate) else ()
    return {"kind": type(row).__name__, "agent": row.agent, "looks": looks, "gate": gate}


def _words(reason: str) -> str:
    """A reason, without how many simulations were new."""
    return re.sub(r", \d+ were run for it.*", "", reason)


def _without_times(path: Path) -> Json:
    trial: Json = json.loads(path.read_text())
    return json.loads(json.dumps(trial, default=str), object_hook=_timeless)


def _timeless(value: Json) -> Json:
    times = ("duration_s", "started", "latency_s", "timestamp", "id", "generation_time_seconds")
    return {name: inner for name, inner in value.items() if name not in times}


def _killed(checkout: Checkout, phase: str, chance: random.Random) -> str:
    """The phase in which it was killed; "" where it had ended by itself."""
    loop = subprocess.Popen(
        [sys.executable, "optimize.py"],
        cwd=checkout.root,
        env={**os.environ, "AUTOHARNESS_VAULT": str(checkout.vault), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    moment = time.monotonic() + (_LONGEST_RUN_S if phase else chance.uniform(0.5, 12))
    head, seen, reached = _head(checkout), "", False
    while loop.poll() is None and time.monotonic() < moment:
        now = MADE if phase == MADE and _head(checkout) != head else _phase(checkout, loop.pid)
        if phase and now == phase and not reached and (phase != "train" or seen == "commit"):
            moment, reached = time.monotonic() + chance.uniform(0, _LONGEST_DELAY_S[phase]), True
        seen = now or seen
        time.sleep(0.0005)
    killed_in = MADE if phase == MADE and reached else _phase(checkout, loop.pid) or "start"
    ended = loop.poll() is not None
    loop.send_signal(signal.SIGKILL)
    loop.wait()
    return "" if ended else killed_in


def _head(checkout: Checkout) -> str:
    heads = (checkout.root / ".git" / "refs" / "heads").iterdir()
    return "".join(sorted(path.read_text() for path in heads if path.suffix != ".lock"))  # git may be at work


def _phase(checkout: Checkout, pid: int) -> str:
    """What the loop with this process says that it is doing."""
    try:
        note = json.loads((checkout.vault / "loop.json").read_text())
    except (OSError, ValueError):
        return ""
    return str(note["phase"]) if note.get("pid") == pid else ""


def many(runs: int, folder: Path, seed: int, concurrency: int = 4, short: bool = False) -> list[Run]:
    """The drill; prints what came of it as it goes. `short`: one edit, and no kill at a random moment."""
    first = prepared(folder / "prepared", concurrency, EDITS[:1] if short else EDITS)
    undisturbed = first.copy(folder / "undisturbed")
    done = undisturbed.run("optimize.py")
    assert done.returncode == 0, done.stderr
    expected, chance = what_it_came_to(undisturbed), random.Random(seed)
    print("undisturbed:", ", ".join(f"{number} {end}" for number, end, *_ in expected["verdicts"]), flush=True)
    found = []
    for number in range(runs):
        plan = (*PLANS[number % len(PLANS)], *([] if short else [""]))
        run = drill(first.copy(folder / f"run-{number}"), expected, plan, chance)
        found.append(run)
        print(f"run {number + 1}: killed in {', '.join(run.killed_in)}: {run.differences or 'the same'}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the runs are kept; else they are removed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = many(options.runs, options.folder or Path(folder), options.seed)
    kills = Counter(phase for run in found for phase in run.killed_in)
    print("kills:", ", ".join(f"{phase} {kills[phase]}" for phase in (*PHASES, "start")))
    different = sum(bool(run.differences) for run in found)
    print(f"{len(found)} runs, {sum(kills.values())} kills, {different} came to something else")
    sys.exit(1 if different or not all(kills[phase] for phase in PHASES) else 0)


if __name__ == "__main__":
    main()
