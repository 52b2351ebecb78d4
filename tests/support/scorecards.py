"""Scorecards of runs whose trials ended as a test says."""

from pathlib import Path
from typing import Any

from autoharness.commands.scorecard import Scorecard
from autoharness.core.outcomes import Outcome, Status, Trial, Usage
from autoharness.core.settings import Experiment
from autoharness.engine.score_identity import Measure
from autoharness.engine.trial_runner import Run

TRAIN, TEST = ["1", "2"], ["hidden-3", "hidden-4"]
KINDS = {
    "p": (Status.PASSED, 1.0),
    "f": (Status.FAILED, 0.0),
    "a": (Status.AGENT_ERROR, 0.0),
    "?": (Status.JUDGE_ERROR, None),
}
USAGE = {"agent": Usage(2, 100, 10, 0.25), "judge": Usage(1, 5, 1, uncosted_calls=1, cached_calls=3)}


def card(trials: dict[str, str], planned: int = 2, interrupted: bool = False, reveal: bool = False) -> Scorecard:
    """`trials`: for each task how its trials ended."""
    facts: dict[str, Any] = {
        **{"flavour": "f", "version": "v", "data_checksum": "c", "layers": {}},
        "splits": {"train": TRAIN, "test": TEST, "base": [*TRAIN, *TEST]},
    }
    measure = Measure(Experiment(domain="mock", agent_model="gpt-5.4", trials=planned), facts)
    outcomes = [
        Outcome(Trial(task_id, number, number), *KINDS[how], usage=USAGE)
        for task_id, hows in trials.items()
        for number, how in enumerate(hows)
    ]
    return Scorecard.of(Run(outcomes, Path(), interrupted, planned * len(trials), 0), measure, None, reveal)
