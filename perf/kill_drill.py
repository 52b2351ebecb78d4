"""Disturbs the loop again and again, and looks at whether it comes to what an undisturbed run comes to.

    python perf/kill_drill.py              thirty runs

Each run is disturbed several times, and started again until it ends by itself:

    a kill          SIGKILL in two or three given phases; in one run of three at a random moment too
    a full disk     vault, checkout and temporary files lie on one small disk, and something fills it: in a random
                    phase, at a random moment. The loop has to end by itself, with one line; then there is room again
    a lost worker   SIGKILL for a process that runs simulations, forks those, or forks agent hosts; the loop goes on,
                    but for one that is asked something just then: it ends with one line

Over all runs every phase is killed in at least once. The tests do four short ones, of one edit. What is compared with
the undisturbed run: see `drill_result`.

The small disk is mounted in a mount namespace of the drill's own, which ends with it. A machine that gives none, even
to a user namespace, has a drill without full disks, which says so.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support"), str(ROOT / "perf")]

from checkout import Checkout  # noqa: E402
from drill_result import what_it_came_to, without_tries  # noqa: E402
from small_disk import NAMESPACES, Disk, in_a_namespace  # noqa: E402

MADE = "commit made"
"""No phase of its own: git has the commit, and the ledger does not know it yet."""
PLANS = (("edit", "train"), ("screening", "commit", MADE), ("gate", "learn"))
"""Where to kill one run, in the order of the story. Train: of the version that was accepted."""
PHASES = tuple(phase for plan in PLANS for phase in plan)
ANY, FULL, LOST = "", "full disk", "lost worker"
OTHERS = ((LOST, ANY), (FULL, LOST), (FULL, FULL))
"""How else one run is disturbed."""
SHORT = (PLANS[0], (FULL, *PLANS[1]), PLANS[2], (LOST,))
"""What the tests do."""
AT_WORK = ("screening", "gate", "train")
"""The phases in which workers have something to lose."""
EDITS = ("ask-for-care", "shorter-code")
"""One that is accepted, one that is rejected."""
_SEED = 1
"""With which the first is accepted. What a gate of four tasks says of an edit hangs on chance."""
_DISK_MB = 16
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
_PROGRAMS = (b"forkserver.py", b"host/child.py")
"""A worker is a fork of the first, an agent host of the second."""

Json = dict[str, Any]


@dataclass
class Run:
    """One run of the loop, disturbed and started again until it was done."""

    disturbed: list[str] = field(default_factory=list)
    """Such as "gate" for a kill there, "full disk in gate", "lost worker in gate"."""
    differences: list[str] = field(default_factory=list)

    @property
    def killed_in(self) -> list[str]:
        return [one for one in self.disturbed if " in " not in one]


def prepared(folder: Path, concurrency: int, edits: tuple[str, ...]) -> Checkout:
    bank = ROOT / "examples" / "edits.py"
    arguments = json.dumps(["--bank", str(bank), "--names", *edits])
    checkout = Checkout.make(
        folder,
        f"domain: mock\nagent_model: offline/clerk\nmax_concurrency: {concurrency}\nmax_trials: 3\nseed: {_SEED}\n"
        f"coding_agent: scripted\ncoding_agent_args: {arguments}\nmax_iterations: {len(edits)}\n",
    )
    done = checkout.run("prepare.py")
    assert done.returncode == 0, done.stderr
    return checkout


class Drill:
    """One run of the loop, in a checkout of its own."""

    def __init__(self, checkout: Checkout, disk: Disk | None, chance: random.Random) -> None:
        self.checkout, self._disk, self._chance = checkout, disk, chance
        self._variables = {"TMPDIR": str(disk.folder / "tmp")} if disk else {}
        self.run = Run()

    def go(self, expected: Json, plan: tuple[str, ...]) -> Run:
        """Disturb it as planned: phases to kill it in, ANY, FULL, LOST. Then compare."""
        for what in plan:
            if done := self._disturbed(what):
                self.run.disturbed.append(done)
        done = self.checkout.run("optimize.py", **self._variables)
        if done.returncode:
            self.run.differences.append(f"it ended with exit code {done.returncode}: {done.stderr[-500:]}")
        found, wanted = what_it_came_to(self.checkout), expected
        if any(one.startswith(LOST) for one in self.run.disturbed):
            found, wanted = without_tries(found), without_tries(expected)
        self.run.differences += [name for name in wanted if found[name] != wanted[name]]
        return self.run

    def _disturbed(self, what: str) -> str:
        """What was done to it; "" if it had ended by itself before."""
        with tempfile.TemporaryFile() as said:
            loop = subprocess.Popen(
                [sys.executable, "optimize.py"],
                cwd=self.checkout.root,
                env={
                    **os.environ,
                    **self._variables,
                    "AUTOHARNESS_VAULT": str(self.checkout.vault),
                    "PYTHONPATH": str(ROOT),
                },
                stdout=subprocess.DEVNULL,
                stderr=said,
            )
            phases = {FULL: PHASES[:-1], LOST: AT_WORK}.get(what, (what,))
            reached = self._reached(loop, self._chance.choice(phases))
            if loop.poll() is not None:
                return ""
            if what == FULL:
                self._fill(loop)
                said.seek(0)
                self._check_end(loop.returncode, said.read().decode(errors="replace"), "make room")
                return f"{FULL} in {reached}"
            if what == LOST:
                self._lose_a_worker(loop)
                said.seek(0)
                self._check_end(loop.poll() or 0, said.read().decode(errors="replace"))
                reached = f"{LOST} in {reached}"
            loop.send_signal(signal.SIGKILL)
            loop.wait()
            return reached

    def _reached(self, loop: "subprocess.Popen[bytes]", phase: str) -> str:
        """Wait for a moment in this phase, or a random one; where the loop is then."""
        chance, checkout = self._chance, self.checkout
        moment = time.monotonic() + (_LONGEST_RUN_S if phase else chance.uniform(0.5, 12))
        head, seen, reached = _head(checkout), "", False
        while loop.poll() is None and time.monotonic() < moment:
            now = MADE if phase == MADE and _head(checkout) != head else _phase(checkout, loop.pid)
            if phase and now == phase and not reached and (phase != "train" or seen == "commit"):
                moment, reached = time.monotonic() + chance.uniform(0, _LONGEST_DELAY_S[phase]), True
            seen = now or seen
            time.sleep(0.0005)
        return MADE if phase == MADE and reached else _phase(checkout, loop.pid) or "start"

    def _fill(self, loop: "subprocess.Popen[bytes]") -> None:
        """Until the loop has ended by itself."""
        assert self._disk
        until = time.monotonic() + _LONGEST_RUN_S
        with self._disk.filled() as fill_again:
            while loop.poll() is None and time.monotonic() < until:
                fill_again()
                time.sleep(0.02)
        if loop.poll() is None:
            self.run.differences.append("with a full disk it did not end")
            loop.kill()
            loop.wait()

    def _check_end(self, code: int, said: str, named: str = "") -> None:
        """Well; or with one line that names what there was, where it may end."""
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        may_end = code == 3 and named
        sound = not code or (may_end and len(errors) == 1 and said.endswith(f"{errors[0]}\n") and named in said)
        if not sound or "Traceback" in said:
            self.run.differences.append(f"disturbed, it ended with exit code {code}: {said[-500:]}")

    def _lose_a_worker(self, loop: "subprocess.Popen[bytes]") -> None:
        """The loop goes on, for a while at least."""
        with suppress(ProcessLookupError, IndexError):
            os.kill(self._chance.choice(sorted(_workers(loop.pid))), signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            loop.wait(self._chance.uniform(1, 8))


def _workers(loop: int) -> Iterator[int]:
    """The processes below the loop that run simulations, fork those, or fork agent hosts; no agent host."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    waiting = [(pid, b"") for pid in children.get(loop, [])]
    while waiting:
        pid, above = waiting.pop()
        with suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            program = next((name for name in _PROGRAMS if name in command), b"")
            if program and not (program == above == _PROGRAMS[1]):
                yield pid
            waiting += [(child, program) for child in children.get(pid, [])]


def _head(checkout: Checkout) -> str:
    heads = (checkout.root / ".git" / "refs" / "heads").iterdir()
    return "".join(sorted(path.read_text() for path in heads if path.suffix != ".lock"))  # git may be at work


def _phase(checkout: Checkout, pid: int) -> str:
    """What the loop with this process says that it is doing."""
    try:
        note = json.loads(next(checkout.vault.glob("inner-*/loop.json")).read_text())
    except (OSError, ValueError, StopIteration):
        return ""
    return str(note["phase"]) if note.get("pid") == pid else ""


def many(
    runs: int, folder: Path, seed: int, concurrency: int = 4, short: bool = False, disks: bool = True
) -> list[Run]:
    """The drill; prints what came of it as it goes. `short`: one edit, no kill at a random moment."""
    first = prepared(folder / "prepared", concurrency, EDITS[:1] if short else EDITS)
    undisturbed = first.copy(folder / "undisturbed")
    done = undisturbed.run("optimize.py")
    assert done.returncode == 0, done.stderr
    expected, chance = what_it_came_to(undisturbed), random.Random(seed)
    print("undisturbed:", ", ".join(f"{number} {end}" for number, end, *_ in expected["verdicts"]), flush=True)
    found = []
    for number in range(runs):
        plan = list(SHORT[number % len(SHORT)] if short else PLANS[number % len(PLANS)])
        for other in () if short else OTHERS[number % len(OTHERS)]:
            plan.insert(chance.randint(0, len(plan)), other)
        plan = [what for what in plan if what != FULL or disks]
        run = _run(first, folder / f"run-{number}", expected, tuple(plan), chance)
        found.append(run)
        print(f"run {number + 1}: {', '.join(run.disturbed)}: {run.differences or 'the same'}", flush=True)
    return found


def _run(first: Checkout, folder: Path, expected: Json, plan: tuple[str, ...], chance: random.Random) -> Run:
    """What is to have a full disk lies on a small one, all of it."""
    if FULL not in plan:
        return Drill(first.copy(folder), None, chance).go(expected, plan)
    with Disk.mounted(folder, _DISK_MB) as disk:
        (folder / "tmp").mkdir()
        run = Drill(first.copy(folder / "night"), disk, chance).go(expected, plan)
        if run.differences:
            shutil.copytree(folder, folder.with_name(f"{folder.name}-different"))  # the disk is gone with us
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the runs are kept; else they are removed")
    parser.add_argument("--short", action="store_true", help="as the tests have it: one edit, no random moments")
    options = parser.parse_args()
    disks = in_a_namespace()
    if not disks:
        print(f"no full disks: this machine gives no mount namespace ({' nor '.join(map(' '.join, NAMESPACES))})")
    with tempfile.TemporaryDirectory() as folder:
        concurrency = 1 if options.short else 4
        found = many(
            options.runs, options.folder or Path(folder), options.seed, concurrency, options.short, bool(disks)
        )
    disturbed = [one.partition(" in ") for run in found for one in run.disturbed]
    kills = Counter(what for what, within, _ in disturbed if not within)
    others = Counter(what for what, within, _ in disturbed if within)
    print("kills:", ", ".join(f"{phase} {kills[phase]}" for phase in (*PHASES, "start")))
    different = sum(bool(run.differences) for run in found)
    print(
        f"{len(found)} runs, {sum(kills.values())} kills, {others[FULL]} full disks, {others[LOST]} lost workers, "
        f"{different} came to something else"
    )
    if missed := [phase for phase in PHASES if not kills[phase]]:
        print(f"never killed in: {', '.join(missed)}; try --seed {options.seed + 1}")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
