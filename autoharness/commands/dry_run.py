"""`benchmark.py --dry-run`: prints the resolved experiment and where each setting came from. Runs nothing."""

import json
from typing import Any

from autoharness.core.setting_sources import Resolved
from autoharness.engine.benchmark_runner import BenchmarkRunner
from autoharness.engine.score_identity import Measure


def dry_run(runs: list[Resolved], as_json: bool) -> int:
    measures = [BenchmarkRunner.of(run.experiment).measure() for run in runs]
    if as_json:
        documents = [_resolved_json(*one) for one in zip(runs, measures, strict=True)]
        print(json.dumps(documents if len(runs) > 1 else documents[0], indent=1))
    else:
        texts = ["\n".join(_resolved_lines(*one)) for one in zip(runs, measures, strict=True)]
        print("\n\n".join(texts))
    return 0


def _resolved_json(run: Resolved, measure: Measure) -> dict[str, Any]:
    sizes = {name: len(ids) for name, ids in measure.splits.items()}
    settings = {"experiment": measure.experiment.to_json(), "sources": run.sources}
    return {**settings, measure.kind: measure.benchmark, "splits": sizes}


def _resolved_lines(run: Resolved, measure: Measure) -> list[str]:
    settings = measure.experiment.to_json().items()
    return [
        *(f"{name}: {json.dumps(value)}  ({run.sources[name]})" for name, value in settings),
        f"{measure.kind}: {measure.installed}, data {measure.benchmark['data_checksum'][:12]}",
        f"splits: {', '.join(f'{name} {len(ids)}' for name, ids in measure.splits.items())}",
    ]
