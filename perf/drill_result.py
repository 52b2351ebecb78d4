"""What a night of the loop came to, in what must not depend on how often it was disturbed (`kill_drill`).

The verdicts and their reasons, the tree of every commit, each trial that a verdict rests on, each train trial (times
aside); the evaluated trials that were run twice, of which there may be none, and what `report.py --verify` finds.
"""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from checkout import Checkout

from autoharness.core.outcomes import EVALUATED, digest
from autoharness.vault.iterations import Iterations
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Gate, Measured
from autoharness.vault.store import Store

Json = dict[str, Any]


def what_it_came_to(checkout: Checkout) -> Json:
    """All that must not depend on how often it was disturbed."""
    store = Store(checkout.vault)
    ledger, iterations = Ledger(store), Iterations(store).all()
    looks = {
        look.key
        for row in ledger.rows
        for look in [*row.looks, *(row.score_looks + row.suite_looks if isinstance(row, Measured) else [])]
    }
    trials = {digest(json.loads(path.read_text())["key"]): _without_times(path) for path in store.trial_files()}
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
        "what does not fit": checkout.run("report.py", "--verify").stdout.splitlines()[1:],
    }


def without_tries(found: Json) -> Json:
    """Without what a simulation says of its earlier tries: where a worker was lost, there were some."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: strip(inner) for name, inner in value.items() if name not in ("tries", "notes")}
        if isinstance(value, list | tuple):
            return [
                strip(inner) for inner in value if "were tried again" not in str(inner) or not isinstance(inner, str)
            ]
        return value

    return {name: strip(inner) for name, inner in found.items()}


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
