"""What happened, in one picture: the loop's edits and those by hand, with their verdicts, in order."""

from dataclasses import replace
from pathlib import Path

import pytest

from autoharness.core.errors import UserError
from autoharness.gate.gate_run import policy_of
from autoharness.report.overview import UNDER_WAY, Overview, change, score_of
from autoharness.vault.iterations import Iterations
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Confirmation, Gate, Look, Side, Verdict
from autoharness.vault.spending import spent
from autoharness.vault.store import Store
from perf.report_vault import HELD_OUT, MEASURE, Night, make_night


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_night(tmp_path / "vault", Night(8, ["1", "2"]))


def test_every_iteration_is_an_attempt_with_its_verdict(store: Store) -> None:
    overview, ledger = Overview.of(store), Ledger(store)
    assert [one.short for one in overview.attempts] == [str(number) for number in range(1, 9)]
    assert [one.end for one in overview.attempts if one.version] == ["accepted", "accepted"]
    assert [one.version.row.val_score for one in overview.attempts if one.version] == [
        version.row.val_score for version in ledger.versions[1:]
    ]
    assert {one.end: bool(one.gate) for one in overview.attempts} == {
        "rejected": True,
        "refused": False,
        "accepted": True,
    }
    assert sum(one.spent.total for one in overview.attempts) == pytest.approx(spent(store).total)
    assert overview.kept_scores == [
        (0, ledger.versions[0].row.val_score),
        (4, ledger.versions[1].row.val_score),
        (8, ledger.versions[2].row.val_score),
    ]


def test_what_is_not_finished_is_under_way(store: Store) -> None:
    iterations = Iterations(store)
    last = iterations.all()[-1]
    iterations.save(type(last)(**vars(last) | {"number": 9, "gate": -1, "finished": "", "end": "refused"}))
    overview = Overview.of(store)
    assert overview.attempts[-1].end == UNDER_WAY
    assert len(overview.finished) == 8


def test_an_edit_by_hand_is_an_attempt_by_the_number_of_its_last_row(store: Store) -> None:
    ledger = Ledger(store, MEASURE)
    agent = store.keep_agent(b"# by hand\n")
    fields = {"measure": MEASURE, "agent": agent, "incumbent": ledger.best.row.agent, "measured": "made up"}
    settings = ledger.best.row.experiment
    ledger.append(Gate(**fields, experiment=settings, verdict="undecided", reasons=["infrastructure"], order="x"))  # type: ignore[arg-type]
    again = ledger.append(Gate(**fields, experiment=settings, verdict="rejected", reasons=["worse"], order="x"))  # type: ignore[arg-type]
    last = Overview.of(store).attempts[-1]
    assert (last.name, last.end, last.why) == (f"by hand, gate {again.number}", "rejected", "worse")
    assert Overview.of(store).names[agent] == f"by hand, gate {again.number} (rejected)"


def test_a_gate_s_differences_are_those_that_its_verdict_rests_on(store: Store) -> None:
    ledger = Ledger(store, MEASURE)
    agent, best = store.keep_agent(b"# better\n"), ledger.best.row
    fields = {"measure": MEASURE, "agent": agent, "incumbent": best.agent, "measured": "made up", "tasks": HELD_OUT}
    gate = Gate(**fields, experiment=best.experiment, verdict="accepted", asked=True, order="x")  # type: ignore[arg-type]
    wins = [
        Look(one.side, one.task_id, one.number, float(one.side == Side.CANDIDATE)) for one in policy_of(gate).requests
    ]
    ledger.append(replace(gate, looks=wins))
    last = Overview.of(store).attempts[-1]
    assert last.gate
    decision = policy_of(last.gate).decide(last.gate.seen)
    assert decision and decision.verdict == Verdict.ACCEPTED
    assert f" {sum(last.differences):.1f} tasks after {len(last.differences)} paired" in decision.reasons[0]


@pytest.mark.parametrize(
    ("reasons", "why"),
    [
        (["candidate ahead by 5.0 tasks", "suite 3/3 passed"], "candidate ahead by 5.0 tasks"),
        (["suite 3/3 passed: x", "+5.0 tasks ahead"], "+5.0 tasks ahead"),
        (["the regression suite is empty", "+5.0 tasks ahead"], "+5.0 tasks ahead"),
        (["not accepted: tried again", "candidate ahead by 5.0 tasks"], "not accepted: tried again"),
    ],
    ids=["now", "older", "older-without-a-suite", "not-accepted"],
)
def test_why_is_what_decided_in_older_rows_too(store: Store, reasons: list[str], why: str) -> None:
    ledger = Ledger(store, MEASURE)
    agent, best = store.keep_agent(b"# another\n"), ledger.best.row
    fields = {"measure": MEASURE, "agent": agent, "incumbent": best.agent, "measured": "made up"}
    ledger.append(Gate(**fields, experiment=best.experiment, verdict="rejected", reasons=reasons, order="x"))  # type: ignore[arg-type]
    assert Overview.of(store).attempts[-1].why == why


def test_a_confirmation_counts_for_the_version_that_it_confirmed(store: Store) -> None:
    ledger = Ledger(store, MEASURE)
    ledger.append(Confirmation(MEASURE, ledger.versions[1].row.agent, baseline=ledger.versions[0].row.agent))
    assert Overview.of(store).confirmation is None
    row = ledger.append(Confirmation(MEASURE, ledger.best.row.agent, baseline=ledger.versions[0].row.agent))
    assert Overview.of(store).confirmation == row


def test_before_the_baseline_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"python prepare\.py"):
        Overview.of(Store(tmp_path / "empty"))


def test_a_version_that_infrastructure_took_has_no_score(store: Store) -> None:
    version = Ledger(store).versions[0]
    row = type(version.row)(**vars(version.row) | {"held_out": {"held-1": None}})
    assert score_of(type(version)(0, row, "", "")) is None


def test_a_change_is_a_diff_of_the_kept_files(store: Store) -> None:
    [first, second] = [version.row.agent for version in Ledger(store).versions[:2]]
    assert "+# edit 4\n" in change(store, first, second)
    assert change(store, first, "") == ""
