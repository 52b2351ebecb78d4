"""Whose fault lost trials are is asked with fresh ones, whatever the clock says."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoharness.core.outcomes import Outcome, Status, Trial
from autoharness.engine.score_identity import FIRST_BY_THE_CLOCK
from autoharness.gate import gate, gate_run
from autoharness.gate.gate_run import FIRST_TRIAL
from autoharness.vault.ledger_rows import Gate, Look, Side
from autoharness.vault.store import Store


@pytest.mark.parametrize("seconds", [5.0, FIRST_BY_THE_CLOCK + 7.0], ids=["1970", "the same second again"])
def test_a_clock_that_was_set_back_gives_no_trial_that_was_run_before(
    seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise an answer from before would say that infrastructure works, and the candidate would be blamed."""
    store, asked = Store(tmp_path), []

    def key(trial: Trial) -> dict[str, Any]:
        return {"task": trial.task_id, "number": trial.number}

    def trial(task_id: str, number: int, agent: str) -> Trial:
        return Trial(task_id, number, 1, agent)

    measure = SimpleNamespace(trial=trial, key=key)
    known = trial("a", max(FIRST_BY_THE_CLOCK, int(seconds)), "other")
    store.keep(key(known), Outcome(known, Status.PASSED, 1.0))
    monkeypatch.setattr(time, "time", lambda: seconds)
    monkeypatch.setattr(gate_run, "run_trials", lambda bench, trials, command: asked.extend(trials) or exit_early())
    with pytest.raises(_Asked):
        gate_run.fault(SimpleNamespace(measure=measure, store=store), "other", [trial("a", 0, "mine")])  # type: ignore[arg-type]
    assert [one.number for one in asked] == [known.number + 1, 0]


class _Asked(Exception):
    """The trials are known: nothing is run."""


def exit_early() -> None:
    raise _Asked


def test_a_gate_that_names_the_incumbents_fault_looks_for_no_other() -> None:
    """Otherwise the row's evidence for the first would be overwritten, and `--verify` would find that."""
    row = Gate("m", "candidate", incumbent="incumbent", incumbent_fault=True)
    lost = [Look(Side.CANDIDATE, "a", FIRST_TRIAL, None)]
    assert gate._find_fault(None, row, lost) is row  # type: ignore[arg-type]
