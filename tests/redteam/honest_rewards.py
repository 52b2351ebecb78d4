"""Runs an honest agent on one tree and prints each trial's reward as JSON; see `honest.py`.

    python honest_rewards.py JOB

JOB: a JSON file {"root", "agent": its source, "settings": of TauBenchRunner, "trials": [[task, number, seed], ...] or
None for those that the tree itself would run, "kill": {"host" | "worker": every so many seconds}}.
"""

import json
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    sys.path.insert(0, job["root"])
    from autoharness.core.outcomes import Trial
    from autoharness.engine.benchmark_runner import TauBenchRunner
    from autoharness.vault.store import Store

    with tempfile.TemporaryDirectory(prefix="honest-") as folder:
        for name in ("checkout", "vault"):
            (Path(folder) / name).mkdir()
        os.chdir(Path(folder) / "checkout")
        agent = Path("agent.py").absolute()
        agent.write_text(job["agent"])
        os.environ["AUTOHARNESS_VAULT"] = f"{folder}/vault"
        runner = TauBenchRunner(**job["settings"], agent_file=agent, store=Store(Path(folder) / "vault"))
        with runner.open() as bench:
            split = bench.measure.splits[runner.experiment.split]
            trials = [Trial(*planned, bench.agent) for planned in job["trials"] or ()]
            trials = trials or bench.measure.trials(split, bench.agent)
            killers = [Killer(kind, every_s) for kind, every_s in job.get("kill", {}).items()]
            outcomes = bench.run_trials(trials, "python", True).outcomes
        found = [
            {
                "task": one.trial.task_id,
                "number": one.trial.number,
                "seed": one.trial.seed,
                "reward": one.reward,
                "status": str(one.status),
                "detail": one.detail,
                "notes": one.notes,
            }
            for one in outcomes
        ]
        killed = {killer.kind: killer.killed for killer in killers}
        print(json.dumps({"outcomes": found, "killed": killed}))


class Killer:
    """Kills one process of a kind below this one now and then, as an operator or a kernel without memory does."""

    def __init__(self, kind: str, every_s: float) -> None:
        self.kind, self._every_s, self.killed = kind, every_s, 0
        threading.Thread(target=self._kill_on, daemon=True).start()

    def _kill_on(self) -> None:
        while True:
            time.sleep(self._every_s)
            victims = hosts() if self.kind == "host" else workers()
            if victims:
                try:
                    os.kill(victims[self.killed % len(victims)], signal.SIGKILL)
                except ProcessLookupError:
                    continue
                self.killed += 1


def hosts() -> list[int]:
    """Agent hosts below this process."""
    return [pid for pid, command in below(os.getpid()).items() if "host/child.py" in command]


def workers() -> list[int]:
    """Forked from the fork server, which is the one child of this process."""
    everyone = below(os.getpid())
    forkservers = [
        pid for pid, command in everyone.items() if "forkserver.py" in command and parents()[pid] == os.getpid()
    ]
    return [pid for pid in everyone if parents().get(pid) in forkservers]


def below(ancestor: int) -> dict[int, str]:
    """Command lines by process number."""
    known, found, new = parents(), {}, [ancestor]
    while new:
        new = [pid for pid, parent in known.items() if parent in new]
        for pid in new:
            try:
                found[pid] = Path(f"/proc/{pid}/cmdline").read_text()
            except OSError:
                continue
    return found


def parents() -> dict[int, int]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    return found


if __name__ == "__main__":
    main()
