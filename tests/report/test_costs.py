"""What edits and simulations cost, by role and by measure; and no held-out simulation run by hand in any sum."""

from pathlib import Path

import pytest

from autoharness.core.outcomes import Outcome, Status, Trial, Usage
from autoharness.report.costs import Costs
from autoharness.report.overview import Overview
from autoharness.report.visible_trials import Trials
from autoharness.vault.ledger import Ledger
from autoharness.vault.spending import FILE
from autoharness.vault.store import Store
from perf.report_vault import HELD_OUT, Night, make_night


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A baseline, and one edit that was rejected."""
    return make_night(tmp_path / "vault", Night(1, ["1", "2"]))


def _costs(store: Store) -> Costs:
    overview = Overview.of(store)
    return Costs.of(overview, Trials(store).of(overview.ledger), ["1", "2"], store)


def _simulation(store: Store, task_id: str, number: int) -> Trial:
    """One more of the baseline's, for a dollar of the agent's."""
    trial = Trial(task_id, number, number, Ledger(store).versions[0].row.agent)
    key = {"domain": "retail", "agent": trial.agent, "task": task_id, "trial": number, "seed": number}
    store.keep(key, Outcome(trial, Status.PASSED, 1.0, usage={"agent": Usage(10, 100, 10, 1.0, latency_s=5.0)}))
    return trial


def test_sums_are_of_train_tasks_and_of_what_the_ledger_rests_on(store: Store) -> None:
    counted = len(list((store.folder / "trials").iterdir()))
    costs = _costs(store)
    assert costs.usage["agent"].calls == 3 * counted
    assert costs.usage["user"].cost_usd == pytest.approx(0.005 * counted)
    assert costs.usage["judge"] == Usage()
    assert (costs.coding.edits, costs.coding.usd, costs.coding.seconds) == (1, 0.5, 60.0)


def test_a_held_out_simulation_that_somebody_ran_by_hand_changes_no_sum(store: Store) -> None:
    before = _costs(store)
    _simulation(store, HELD_OUT[0], 77)
    assert _costs(store) == before
    _simulation(store, "1", 77)
    assert _costs(store).usage["agent"].calls == before.usage["agent"].calls + 10


def test_money_is_the_loop_s_or_not_and_of_this_measure_or_not(store: Store) -> None:
    before = _costs(store)
    assert before.loop_usd == pytest.approx(0.8)
    assert before.total_usd == pytest.approx(before.outside_usd + 0.8)
    trial = _simulation(store, "1", 77)
    assert _costs(store).outside_usd == pytest.approx(before.outside_usd + 1)
    entry = {"iteration": 1, "usd": {"agent": 1.0}, "trial": [trial.task_id, trial.number, trial.agent]}
    store.append_line(FILE, entry)
    assert _costs(store).outside_usd == pytest.approx(before.outside_usd)
    assert _costs(store).loop_usd == pytest.approx(1.8)
    store.append_line(FILE, entry | {"iteration": 99, "usd": {"agent": 7.0}, "trial": ["1", 0, trial.agent]})
    assert _costs(store).outside_usd == pytest.approx(before.outside_usd), "it was paid again under these settings"
    assert (_costs(store).loop_usd, _costs(store).others_usd) == (pytest.approx(1.8), pytest.approx(7.0))
