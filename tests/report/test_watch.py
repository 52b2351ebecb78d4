"""The present state of a vault in words, and a name for it that changes when it does."""

import os
from pathlib import Path

import pytest

from autoharness.loop.status import LOOP_LOCK, Phase, note_end, note_limits, note_phase
from autoharness.report.watch import Now, made_of
from autoharness.vault.iterations import Iterations
from autoharness.vault.spending import FILE
from autoharness.vault.store import Store
from perf.report_vault import Night, make_night


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_night(tmp_path / "vault", Night(1, ["a"]))


def test_it_tells_a_running_loop_from_a_killed_one_and_one_that_ended(store: Store) -> None:
    assert Now.of(store).loop == "was never started here"
    note_phase(store, 2, Phase.GATE)
    with store.lock(LOOP_LOCK):
        assert (Now.of(store).running, Now.of(store).loop.startswith("iteration 2, gate since")) == (True, True)
    assert Now.of(store).loop.startswith("was killed in iteration 2, gate")
    note_end(store, "Ctrl-C")
    assert Now.of(store).loop.endswith(": Ctrl-C")


def test_spending_stands_beside_its_cap_and_is_read_anew(store: Store) -> None:
    assert Now.of(store).spent.startswith("$0.8000 (")
    note_limits(store, {"max_usd": 5.0, "max_hours": None})
    assert Now.of(store).spent.startswith("$0.8000 of at most $5 (")
    assert Now.of(store).limits == "max_usd 5"
    store.append_line(FILE, {"iteration": 1, "usd": {"agent": 1.0}})
    assert Now.of(store).spent.startswith("$1.8000 of")


@pytest.mark.parametrize("content", ["", "[1]", '"x"'])
def test_notes_that_cannot_be_read_say_nothing(content: str, store: Store) -> None:
    for name in ("limits.json", "loop.json"):
        (store.folder / name).write_text(content)
    assert (Now.of(store).limits, Now.of(store).loop) == ("", "was never started here")


def test_the_name_changes_with_what_was_decided_and_not_with_a_simulation(store: Store) -> None:
    before = made_of(store)
    (store.folder / "trials" / "x.json").write_text("{}")
    note_phase(store, 2, Phase.TRAIN)
    assert made_of(store) == before
    names = {before}
    iterations = Iterations(store)
    iterations.save(iterations.all()[0])
    names.add(made_of(store))
    store.count_holdout({"command": "gating.py"})
    names.add(made_of(store))
    os.utime(store.folder / "ledger.jsonl", ns=(1, 1))
    names.add(made_of(store))
    assert len(names) == 4
