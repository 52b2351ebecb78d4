"""What is printed of a run: for grep, as JSON, and no more of held-out tasks than their means."""

import json

import pytest
from scorecards import TEST, card


def test_several_trials_have_their_powers_and_their_statuses() -> None:
    assert card({"1": "pp", "2": "pa"}).lines == [
        "val_score: 0.7500  (1/2 passed all 2 trials, 0 infra errors), 95 % interval 0.20 to 0.97",
        "pass^1: 0.7500  (2 tasks)",
        "pass^2: 0.5000  (2 tasks)",
        "pass@1: 0.7500  (2 tasks)",
        "pass@2: 1.0000  (2 tasks)",
        "  PASS  1: 1.00",
        "  FAIL  2: 0.50",
        "statuses: passed 3, agent_error 1",
        "usage: agent 8 calls, 440 tokens, $1.0000; judge 4 calls and 12 cached, 24 tokens, price unknown",
        "isolation: sandbox",
    ]


def test_json_says_the_same() -> None:
    found = json.loads(json.dumps(card({"1": "p?", "2": "pf"}).to_json()))
    assert {name: found[name] for name in ("val_score", "pass^1", "pass^2", "pass@1", "pass@2")} == {
        **{"val_score": 0.75, "pass^1": 0.75, "pass^2": None, "pass@1": 0.75, "pass@2": None}
    }
    assert found["status_counts"] == {"passed": 2, "failed": 1, "judge_error": 1}
    assert (found["usage"]["agent"]["cost_usd"], found["usage"]["judge"]["cost_usd"]) == (1.0, None)
    assert found["cost_usd"] is None, "what is not known is no sum"
    assert found["statuses"] == {"1": ["passed", "judge_error"], "2": ["passed", "failed"]}


def test_a_whole_held_out_split_shows_means_and_counts_and_no_task() -> None:
    lines = card(dict(zip(TEST, ["pf", "pp"], strict=True))).lines
    assert "pass^2: 0.5000  (2 tasks)" in lines and "statuses: passed 3, failed 1" in lines
    assert "hidden" not in "\n".join(lines)


@pytest.mark.parametrize("trials", [{TEST[0]: "pf"}, {TEST[0]: "pf", TEST[1]: "p"}], ids=["a-part", "broken-off"])
def test_a_part_of_a_held_out_split_shows_nothing(trials: dict[str, str]) -> None:
    """Neither does a whole one whose trials were broken off: with one trial more its mean would tell that one."""
    found = card(trials, interrupted=True)
    withheld, isolation = found.lines
    assert withheld.startswith("held_out: ") and withheld.endswith("shows no score")
    assert isolation == "isolation: sandbox"
    assert {found.to_json()[name] for name in ("val_score", "pass^1", "pass@2")} == {None}
    assert found.to_json()["status_counts"] == found.to_json()["usage"] == {}


def test_beside_it_train_tasks_have_their_own_figures() -> None:
    lines = card({"1": "pf", TEST[0]: "pp"}).lines
    assert "pass^2: 0.0000  (1 tasks)" in lines and "statuses: passed 1, failed 1" in lines


def test_a_reveal_shows_single_results() -> None:
    assert f"  FAIL  {TEST[0]}: 0.50" in card({TEST[0]: "pf"}, reveal=True).lines


def test_what_a_part_of_the_held_out_tasks_cost_is_not_told() -> None:
    assert card({"hidden-3": "pp"}).to_json()["cost_usd"] == 0.0
    assert card({"1": "pp"}).to_json()["cost_usd"] is None


def test_held_out_tasks_that_were_broken_off_are_counted_as_withheld() -> None:
    lines = card({"hidden-3": "p", "hidden-4": "pp"}, interrupted=True).lines
    assert "held_out: 2 tasks were run; a part of a held-out split shows no score" in lines
    assert not any("val_score" in line for line in lines)
