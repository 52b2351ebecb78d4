"""A task's trials as the viewer takes them, and which of them a page from disk carries."""

import base64
import json
import zlib
from pathlib import Path

from autoharness.report.conversations import chosen, listed, packed
from autoharness.report.overview import Overview
from autoharness.report.visible_trials import Kept, Trials
from autoharness.vault.store import Store
from perf.report_vault import Night, make_night


def _night(tmp_path: Path) -> tuple[Overview, list[Kept]]:
    store = Store(tmp_path / "vault")
    make_night(store.vault, Night(4, ["a", "b"]))
    overview = Overview.of(store)
    return overview, [kept for kept in Trials(store).of(overview.ledger) if kept.outcome.trial.task_id in ("a", "b")]


def test_trials_come_in_the_order_of_versions_with_results_in_their_calls(tmp_path: Path) -> None:
    overview, trials = _night(tmp_path)
    found = listed([kept for kept in trials if kept.outcome.trial.task_id == "a"], overview.names)
    assert [trial["version"] for trial in found] == [
        "the baseline",
        "iteration 1 (rejected)",
        "iteration 2 (rejected)",
        "iteration 3 (refused)",
        "iteration 4",
    ]
    first = found[0]
    assert [turn["number"] for turn in first["turns"]] == [0, 1, 2, 4, 5]
    [call] = first["turns"][2]["calls"]
    assert (call["name"], call["failed"]) == ("return_item", False)
    assert json.loads(call["result"])["order"] == call["arguments"]["order"]
    assert all(bool(trial["end"]) == (trial["reward"] == 0) for trial in found)
    assert found[0]["calls"] == {"agent": 3, "user": 3}


def test_what_is_packed_is_what_is_listed(tmp_path: Path) -> None:
    overview, trials = _night(tmp_path)
    packs = packed(trials, overview.names)
    assert set(packs) == {"a", "b"}
    mine = [kept for kept in trials if kept.outcome.trial.task_id == "b"]
    assert json.loads(zlib.decompress(base64.b64decode(packs["b"]))) == listed(mine, overview.names)


def test_a_page_carries_what_matters_first(tmp_path: Path) -> None:
    overview, trials = _night(tmp_path)
    best, baseline = overview.best.row.agent, overview.baseline.row.agent
    size = sum(kept.size for kept in trials if kept.outcome.trial.agent in (best, baseline))
    found = chosen(trials, [best, baseline], size)
    assert {kept.outcome.trial.agent for kept in found} == {best, baseline}
    assert next(kept.outcome.trial.agent for kept in found) == best
    assert len(chosen(trials, [best], 0)) == 0
    assert len(chosen(trials, [], 10**9)) == len(trials)
