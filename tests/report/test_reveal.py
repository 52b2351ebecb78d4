"""A reveal is counted, each task once, and may not lie where a coding agent reads."""

from pathlib import Path

import pytest
from conftest import ROOT

from autoharness.core.errors import UserError
from autoharness.report.reveal import Reveal, place_of
from autoharness.vault.ledger import Ledger
from autoharness.vault.store import Store
from perf.report_vault import HELD_OUT, Night, make_night


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_night(tmp_path / "vault", Night(0, ["1"]))


def test_what_is_shown_again_is_counted_once_and_what_is_new_again(store: Store) -> None:
    reveal, ledger = Reveal("report.py", store), Ledger(store)
    reveal.count([], ledger)
    assert store.reveals("retail") == 0
    reveal.count(HELD_OUT[:2], ledger)
    reveal.count(HELD_OUT[:2], ledger)
    reveal.count(HELD_OUT[:1], ledger)
    assert store.reveals("retail") == 1
    reveal.count(HELD_OUT[:3], ledger)
    assert [entry["tasks"] for entry in store.holdout_log("retail")] == [2, 3]
    Reveal("report.py", store).count(HELD_OUT[:1], ledger)
    assert store.reveals("retail") == 3


def test_what_could_not_be_counted_is_not_counted_as_such(store: Store) -> None:
    """A full disk, and then room again: a reason to stand in for a method."""
    reveal, ledger = Reveal("report.py", store), Ledger(store)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError):
        patch.setattr(store, "count_holdout", lambda entry: open(store.folder))  # noqa: PTH123, SIM115
        reveal.count(HELD_OUT[:1], ledger)
    assert reveal.count(HELD_OUT[:1], ledger)
    assert not reveal.count(HELD_OUT[:1], ledger)
    assert store.reveals("retail") == 1


def test_it_may_lie_in_the_vault_or_elsewhere_but_in_no_checkout(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the one that it was started in, nor in this one, from whichever of its folders."""
    (tmp_path / "checkout" / "agent").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "checkout")
    assert place_of(None, "x.html", store, reveal=False) == Path("workspace/x.html")
    assert place_of(None, "x.html", store, reveal=True) == store.folder / "revealed" / "x.html"
    assert place_of(tmp_path / "x.html", "", store, reveal=True) == tmp_path / "x.html"
    assert place_of(Path("x.html"), "", store, reveal=False) == Path("x.html")
    (tmp_path / "into").symlink_to(tmp_path / "checkout")
    for inside in ("x.html", "agent/x.html", str(tmp_path / "into" / "x.html"), str(ROOT / "workspace" / "x.html")):
        with pytest.raises(UserError, match="inside the checkout"):
            place_of(Path(inside), "", store, reveal=True)
