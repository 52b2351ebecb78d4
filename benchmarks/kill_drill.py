"""Kills the loop with SIGKILL, again and again, and looks at whether it comes to what an undisturbed run comes to.

    python benchmarks/kill_drill.py              thirty runs
    python benchmarks/kill_drill.py --runs 3     as the tests do

Each run is killed a few times, at a random moment or in a given phase, and started again until it ends by itself.
Over all runs every phase is killed in at least once. Compared with the undisturbed run: the verdicts and their
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
from autoharness.store import Store  # noqa: E402

PHASES = ("train", "edit", "screening", "gate", "commit")
EDITS = ("ask-for-care", "cheat-think-harder", "shorter-code")
"""One that is accepted, one that is refused, one that is rejected."""
KILLS = 2
"""In a phase, of each run; and one at a random moment."""
_LONGEST_RUN_S = 300.0
_LONGEST_DELAY_S = {"train": 2.0, "edit": 0.4, "screening": 0.5, "gate": 1.0, "commit": 0.02}
"""After the phase was entered."""

Json = dict[str, Any]


@dataclass
class Run:
    """One run of the loop, killed and started again until it was done."""

    killed_in: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


def prepared(folder: Path) -> Checkout:
    bank = ROOT / "examples" / "edits.py"
    arguments = json.dumps(["--bank", str(bank), "--names", *EDITS])
    checkout = Checkout.make(
        folder,
        "domain: mock\nagent_model: offline/clerk\nmax_concurrency: 4\nmax_trials: 3\n"
        f"coding_agent: scripted\ncoding_agent_args: {arguments}\nmax_iterations: {len(EDITS)}\n",
    )
    done = checkout.run("prepare.py")
    assert done.returncode == 0, done.stderr
    return checkout


def drill(checkout: Checkout, expected: Json, phases: tuple[str, ...], chance: random.Random) -> Run:
    """Kill it in each of the phases, and once at a random moment; then compare."""
    run = Run()
    for phase in (*phases, ""):
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
    evaluated = Counter(json.dumps(one["trial"]) for one in spent if one.get("status") in ("passed", "failed"))
    return {
        "verdicts": [(one.number, one.end, list(map(_words, one.reasons)), one.hits) for one in iterations],
        "rows": [_row(row) for row in ledger.rows],
        "trees": checkout.git("log", "--format=%T").split(),
        "trials of verdicts": {key: trials[key] for key in sorted(looks) if key},
        "train trials": {key: trials[key] for key in sorted(train)},
        "trials that were run twice": {trial: times for trial, times in evaluated.items() if times > 1},
        "learnings": re.findall(r"^## .+", (checkout.root / "workspace" / "learnings.md").read_text(), re.MULTILINE),
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
    while loop.poll() is None and time.monotonic() < moment:
        if phase and _phase(checkout, loop.pid) == phase:
            moment, phase = time.monotonic() + chance.uniform(0, _LONGEST_DELAY_S[phase]), ""
        time.sleep(0.001)
    killed_in = _phase(checkout, loop.pid) or "start"
    ended = loop.poll() is not None
    loop.send_signal(signal.SIGKILL)
    loop.wait()
    return "" if ended else killed_in


def _phase(checkout: Checkout, pid: int) -> str:
    """What the loop with this process says that it is doing."""
    try:
        note = json.loads((checkout.vault / "loop.json").read_text())
    except (OSError, ValueError):
        return ""
    return str(note["phase"]) if note.get("pid") == pid else ""


def many(runs: int, folder: Path, seed: int) -> list[Run]:
    """The drill; prints what came of it as it goes."""
    first = prepared(folder / "prepared")
    undisturbed = first.copy(folder / "undisturbed")
    done = undisturbed.run("optimize.py")
    assert done.returncode == 0, done.stderr
    expected, chance = what_it_came_to(undisturbed), random.Random(seed)
    print("undisturbed:", ", ".join(f"{number} {end}" for number, end, *_ in expected["verdicts"]), flush=True)
    found = []
    for number in range(runs):
        phases = tuple(PHASES[(KILLS * number + turn) % len(PHASES)] for turn in range(KILLS))
        run = drill(first.copy(folder / f"run-{number}"), expected, phases, chance)
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
