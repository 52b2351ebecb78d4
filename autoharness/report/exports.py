"""`python report.py --export KIND`: exports the trials of the newest settings identity for other programs.

    csv          one line for each simulation
    jsonl        one line for each simulation, with everything: key, outcome, conversation
    xlsx         a ranking of the kept versions, the simulations, and every turn
    tau2         tau2's own results file, of one version
    results.yml  as NVIDIA's NeMo Evaluator writes it, of one version: means only

A file has train tasks, and of held-out splits what every report shows: means and counts. With --reveal-held-out it
has held-out tasks too. That is counted before anything is written, so that every later verdict and report says so,
and the file must not be in the checkout, where a coding agent reads.

It does not protect the file that it wrote: anyone who can read the file knows what it holds.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autoharness.core.command_form import typed
from autoharness.core.errors import UserError
from autoharness.core.files import replacing, write_json, write_text
from autoharness.core.outcomes import by_task, known_cost, mean, passed, rewards_by_task
from autoharness.core.pass_k import Repeats
from autoharness.core.settings import SIMULATED
from autoharness.core.stats import mean_interval
from autoharness.report import nemo_results
from autoharness.report.overview import Overview
from autoharness.report.reveal import Reveal, place_of
from autoharness.report.tables import Json, Row, Simulation, check_openpyxl, write_csv, write_workbook
from autoharness.report.tau2_results import chosen, results_of
from autoharness.report.visible_trials import Kept, Trials, train_tasks
from autoharness.vault.iterations import Iterations
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Version, settled_looks
from autoharness.vault.store import Store

TAU2, NEMO = "tau2", "results.yml"
NAMES = {
    TAU2: "results.tau2.json",
    NEMO: "results.yml",
    "xlsx": "export.xlsx",
    "csv": "export.csv",
    "jsonl": "export.jsonl",
}
"""The kinds of file, and the default name of each."""


@dataclass(frozen=True)
class Wanted:
    """What a person typed."""

    kind: str
    output: Path | None = None
    version: str | None = None
    """A kept version; None for all that was tried, or for the best one if the file has one version."""
    reveal: bool = False


def export(wanted: Wanted, store: Store) -> int:
    """Writes the file and says where. Raises UserError."""
    if wanted.kind == NEMO and wanted.reveal:
        raise UserError("--export results.yml holds means alone: --reveal-held-out has nothing to show there")
    path = place_of(wanted.output, NAMES[wanted.kind], store, wanted.reveal)
    overview = Overview.of(store)
    ledger = overview.ledger
    version = ledger.version(wanted.version or "best")
    train = set(overview.train)
    found = _of(version, Trials(store).of(ledger), wanted)
    kept = [one for one in found if wanted.reveal or one.outcome.trial.task_id in train]
    if not kept:
        raise UserError(f"there is no simulation to export: {typed('benchmark.py --split train')} runs some")
    if wanted.kind == "xlsx":
        check_openpyxl()
    results = results_of(version, kept) if wanted.kind == TAU2 else {}
    tasks = {one.outcome.trial.task_id for one in kept}
    Reveal(f"report.py --export {wanted.kind}", store).count(tasks - train, ledger)
    if wanted.kind == TAU2:
        write_json(path, results)
    elif wanted.kind == NEMO:
        _write_yaml(path, nemo_results.results_of(version, kept, train))
    else:
        named = [(overview.names.get(one.outcome.trial.agent, "").removeprefix("the "), one) for one in kept]
        _write_rows(wanted.kind, path, [Simulation(run, *one) for run, one in enumerate(named, 1)], store)
    whose = f", of {version.name}" if wanted.version or wanted.kind in (TAU2, NEMO) else ""
    print(f"exported: {path}  ({len(kept)} simulations of {len(tasks)} tasks, {len(tasks - train)} held out{whose})")
    if version.row.simulated:
        print(SIMULATED)
    return 0


def _of(version: Version, kept: list[Kept], wanted: Wanted) -> list[Kept]:
    """All trials, or those of the version alone."""
    own = [one for one in kept if one.outcome.trial.agent == version.row.agent]
    if wanted.kind in (TAU2, NEMO):
        return chosen(version, own)
    return own if wanted.version else kept


def _write_yaml(path: Path, document: Json) -> None:
    import yaml

    write_text(path, yaml.safe_dump(document, sort_keys=False))


def _write_rows(kind: str, path: Path, simulations: list[Simulation], store: Store) -> None:
    with replacing(path) as file, _scratch_beside(path):
        if kind == "csv":
            write_csv(file, (one.row(one.kept.read()) for one in simulations))
        elif kind == "xlsx":
            write_workbook(file, ranking(store), simulations)
        else:
            file.writelines(_lines(simulations))


@contextmanager
def _scratch_beside(path: Path) -> Iterator[None]:
    """The folder where openpyxl puts its parts first: after a kill they are no more exposed than the file itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as scratch:
        before, tempfile.tempdir = tempfile.tempdir, scratch
        try:
            yield
        finally:
            tempfile.tempdir = before


def _lines(simulations: list[Simulation]) -> Iterator[bytes]:
    for one in simulations:
        document = json.loads(one.kept.path.read_text(encoding="utf-8"))
        named = {"run": one.run, "version": one.version, "wrong": one.kept.wrong}
        yield json.dumps(named | document).encode() + b"\n"


def ranking(store: Store) -> list[Row]:
    """The kept versions of every settings identity, the newest first; in each the best one, then from the newest on.

    Each was found better than the one before, by more trials than its score has: a lucky one's score may be higher.
    Of held-out splits it has means and counts alone.
    """
    trials, rows = Trials(store), []
    for measure in dict.fromkeys(row.measure for row in reversed(Ledger(store).all_rows)):
        ledger = Ledger(store, measure)
        versions = sorted(ledger.versions, key=lambda one: (one is not ledger.best, -one.iteration))
        train, kept = train_tasks(ledger, Iterations(store).all(measure)), trials.of(ledger)
        for rank, version in enumerate(versions, 1):
            rows.append({"rank": rank} | _ranked(version, kept, set(train)))
    return _aligned(rows)


def _ranked(version: Version, kept: list[Kept], train: set[str]) -> Row:
    row, own = version.row, [one.outcome for one in kept if one.outcome.trial.agent == version.row.agent]
    trials = row.experiment.get("trials", 1)  # further ones were bought because something had failed
    scored = [outcome for outcome in own if outcome.trial.number < trials]
    seen = rewards_by_task(outcome for outcome in scored if outcome.trial.task_id in train)
    scores = [reward for reward in settled_looks(row.score_looks).values() if reward is not None]
    low, high = mean_interval(scores)
    return {
        "version": version.name.removeprefix("the "),
        "domain": row.experiment["domain"],
        "measured": row.measured,
        "val_score": row.val_score,
        "val_low_95": low,
        "val_high_95": high,
        "val_passed": sum(map(passed, scores)),
        "val_tasks": len(scores),
        "train_mean": mean(seen.values()) if len(seen) == len(train) else None,
        "train_tasks": len(seen),
        "simulations": len(own),
        "cost_usd": known_cost(usage for outcome in own for usage in outcome.usage.values()),
        "agent": row.agent[:12],
        "commit": version.commit[:12],
        "recorded": version.time,
        "reveals_before": row.reveals,
        "models": SIMULATED if row.simulated else row.experiment["agent_model"],
        **_powers(version),
    }


def _powers(version: Version) -> Row:
    """pass^k over the held-out tasks, for each k that all of them have trials for."""
    looks = by_task((look.task_id, look.reward) for look in version.row.score_looks)
    whole = {task_id: rewards for task_id, rewards in looks.items() if None not in rewards}
    most = min(map(len, whole.values()), default=0)
    repeats = Repeats.of_rewards(whole, most)
    return {f"pass^{k}": repeats.pass_hat(k) for k in range(1, most + 1)}


def _aligned(rows: list[Row]) -> list[Row]:
    """All rows with the same columns, in the order of the row that has most."""
    columns = max((list(row) for row in rows), key=len, default=[])
    return [{name: row.get(name) for name in columns} for row in rows]
