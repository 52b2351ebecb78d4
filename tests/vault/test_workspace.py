"""`workspace/` shows the coding agent how each train task went: files in a promised shape, and a page to read."""

import json
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from autoharness.core.errors import UserError
from autoharness.core.outcomes import Outcome, Status, Trial, slug
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Baseline, Gate, Record
from autoharness.vault.store import Store
from autoharness.vault.workspace import (
    Changes,
    begin_learnings,
    export_domain,
    export_ledger,
    export_traces,
    export_train_results,
    render_trace,
    set_aside_edited,
)

TASK = "[mobile_data_issue]data_mode_off|bad_vpn[PERSONA:None]"
MESSAGES: list[dict[str, Any]] = [
    {"role": "assistant", "content": "Hi! How can I help you today?", "tool_calls": None},
    {"role": "user", "content": "Cancel order #W1, please.", "tool_calls": None},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "1", "name": "get_order", "arguments": {"id": "#W1"}, "requestor": "assistant"}],
    },
    {"role": "tool", "content": "Error: no such order", "id": "1", "requestor": "assistant", "error": True},
    {
        "role": "user",
        "content": None,
        "tool_calls": [{"id": "2", "name": "toggle_data", "arguments": {}, "requestor": "user"}],
    },
    {"role": "tool", "content": "Data is on.", "id": "2", "requestor": "user", "error": False},
]
REWARD_INFO: dict[str, Any] = {
    "reward": 0.0,
    "db_check": {"db_match": False, "db_reward": 0.0},
    "env_assertions": [
        {
            "env_assertion": {
                "env_type": "user",
                "func_name": "assert_internet_speed",
                "arguments": {"expected_speed": 200},
                "assert_value": True,
                "message": None,
            },
            "met": False,
            "reward": 0.0,
        }
    ],
    "action_checks": [
        {
            "action": {
                "action_id": "0_0",
                "requestor": "assistant",
                "name": "get_order",
                "arguments": {"id": "#W1"},
                "info": None,
                "compare_args": None,
            },
            "action_match": True,
            "action_reward": 1.0,
        },
        {
            "action": {
                "action_id": "0_1",
                "requestor": "user",
                "name": "toggle_roaming",
                "arguments": {},
                "info": None,
                "compare_args": None,
            },
            "action_match": False,
            "action_reward": 0.0,
        },
    ],
    "nl_assertions": [{"nl_assertion": "Agent apologises", "met": True, "justification": "It said sorry."}],
    "communicate_checks": [
        {"info": "1093.34", "met": False, "justification": "Information '1093.34' not communicated."}
    ],
    "reward_basis": ["DB", "COMMUNICATE"],
    "reward_breakdown": {"DB": 0.0, "COMMUNICATE": 0.5},
    "info": {"env": None},
}
OUTCOME = Outcome(
    Trial(TASK, 0, 1),
    Status.FAILED,
    0.0,
    termination="user_stop",
    reward_info=REWARD_INFO,
    messages=MESSAGES,
    database_diff=[{"path": "orders.#W1.status", "expected": "cancelled", "actual": "pending"}],
    notes=["run once more, alone: it died"],
)


def _trial(number: int, reward: float | None, task_id: str = TASK) -> Outcome:
    status = Status.PROVIDER_ERROR if reward is None else Status.FAILED
    return Outcome(Trial(task_id, number, number), status, reward)


def _shown(workspace: Path, kind: str = "latest", task_id: str = TASK) -> Any:
    return json.loads((workspace / "traces" / kind / slug(task_id) / "result.json").read_text())


def test_exports_the_policy_and_the_tools_as_the_agent_gets_them(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "get_order"}}]
    export_domain("# Policy\n", tools, tmp_path)
    assert (tmp_path / "domain" / "policy.md").read_text() == "# Policy\n"
    assert json.loads((tmp_path / "domain" / "tools.json").read_text()) == tools


def test_exports_the_results_of_a_train_run(tmp_path: Path) -> None:
    results = {TASK: 0.5, "1": None}
    export_train_results(results, None, tmp_path)
    written = json.loads((tmp_path / "train_results.json").read_text())
    assert datetime.fromisoformat(written.pop("timestamp")).tzinfo
    assert written == {"split": "train", "results": results}


def test_exports_a_folder_for_each_task(tmp_path: Path) -> None:
    for kind in ("latest", "baseline"):
        export_traces([OUTCOME, _trial(0, 1.0, "1")], kind, tmp_path)
    for kind in ("latest", "baseline"):
        assert {path.name for path in (tmp_path / "traces" / kind).iterdir()} == {slug(TASK), slug("1")}
        folder = tmp_path / "traces" / kind / slug(TASK)
        messages = json.loads((folder / "trace.json").read_text())
        result = json.loads((folder / "result.json").read_text())
        assert Outcome.from_json({**result, "messages": messages}) == OUTCOME
        assert "messages" not in result
        assert (folder / "trace.md").read_text() == render_trace(OUTCOME)


def test_the_newest_run_takes_the_place_of_the_one_before_and_the_baselines_stays(tmp_path: Path) -> None:
    export_traces([_trial(0, 0.0)], "baseline", folder=tmp_path)
    for number in (1, 2):
        export_traces([_trial(number, 0.5)], folder=tmp_path)
        assert _shown(tmp_path)["trial"]["number"] == number
    assert _shown(tmp_path, "baseline")["trial"]["number"] == 0


def test_tasks_of_another_domain_do_not_stay_among_the_newest_and_no_link_is_followed(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "workspace", tmp_path / "elsewhere"
    (elsewhere / "kept").mkdir(parents=True)
    export_traces([_trial(0, 0.0, "1"), _trial(0, 0.0, "2")], folder=folder)
    (folder / "traces" / "latest" / "link").symlink_to(elsewhere)
    export_traces([_trial(0, 0.0, TASK)], folder=folder, train=[TASK, "2", "3"])
    names = {path.name for path in (folder / "traces" / "latest").iterdir()}
    assert names == {slug(TASK), slug("2"), "link"} and (elsewhere / "kept").exists()
    shutil.rmtree(folder / "traces" / "latest")
    (folder / "traces" / "latest").symlink_to(elsewhere)
    with pytest.raises(UserError):
        export_traces([], folder=folder, train=[TASK])
    assert (elsewhere / "kept").exists()


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [([1.0, 0.25, 0.5], 0.25), ([0.5, None, 1.0], 0.5), ([None, 1.0, None], 1.0), ([None, None], None)],
    ids=["worst", "worst-evaluated", "only-evaluated", "none-evaluated"],
)
def test_of_several_trials_the_worst_evaluated_one_is_shown(
    rewards: list[float | None], expected: float | None, tmp_path: Path
) -> None:
    export_traces([_trial(number, reward) for number, reward in enumerate(rewards)], folder=tmp_path)
    assert _shown(tmp_path)["reward"] == expected


def test_the_page_tells_what_was_checked_what_differed_and_what_was_said() -> None:
    assert render_trace(OUTCOME) == (
        """\
# Task [mobile_data_issue]data_mode_off|bad_vpn[PERSONA:None]

failed, reward 0.00.
The conversation ended with: user_stop.
- run once more, alone: it died

## What was checked

- DB: 0
- COMMUNICATE: 0.5
- NOT met: the agent tells the user: 1093.34
- NOT met: user: assert_internet_speed({"expected_speed": 200}) is True
- met: Agent apologises (It said sorry.)

## Reference tool calls

- made: assistant: get_order({"id": "#W1"})
- NOT made: user: toggle_roaming({})

## Tool calls made

- assistant: get_order({"id": "#W1"})
- user: toggle_data({})

## How the final database differs

- orders.#W1.status: expected "cancelled", is "pending"

## Conversation

**0 assistant:** Hi! How can I help you today?

**1 user:** Cancel order #W1, please.

**2 assistant:**

    get_order({"id": "#W1"})

**3 tool, with an error:** Error: no such order

**4 user:**

    toggle_data({})

**5 tool:** Data is on.

"""
    )


def test_the_page_of_a_trial_that_was_not_evaluated_says_why_and_has_no_empty_sections() -> None:
    outcome = replace(_trial(0, None), detail="the provider answered 401")
    assert render_trace(outcome) == f"# Task {TASK}\n\nprovider_error, reward none. the provider answered 401\n"


def test_a_reward_info_with_nothing_but_the_reward_is_enough() -> None:
    """tau2 leaves the lists None where a conversation ended too early to be checked."""
    names = ("env_assertions", "action_checks", "nl_assertions", "communicate_checks", "reward_breakdown")
    outcome = replace(_trial(0, 0.0), reward_info={"reward": 0.0} | dict.fromkeys(names))
    assert "##" not in render_trace(outcome).replace("# Task", "")


def test_a_long_text_is_cut_on_the_page_and_whole_beside_it(tmp_path: Path) -> None:
    messages = [{"role": "tool", "content": "x" * 2000}]
    export_traces([replace(OUTCOME, messages=messages)], folder=tmp_path)
    folder = tmp_path / "traces" / "latest" / slug(TASK)
    assert f"**0 tool:** {'x' * 1500} ... (500 more characters)\n" in (folder / "trace.md").read_text()
    assert json.loads((folder / "trace.json").read_text()) == messages


def test_says_which_tasks_went_otherwise_than_before() -> None:
    """Only tasks that were evaluated both times count."""
    before = {"1": 0.0, "2": 1.0, "3": 1.0, "4": None, "10": 0.0}
    after = {"1": 1.0, "2": 0.0, "3": 1.0, "4": 1.0, "10": 1.0, "11": 1.0}
    changes = Changes.between("iteration 2", before, after)
    assert (changes.fixed, changes.broken) == (["1", "10"], ["2"])
    assert changes.lines[0] == "changes: 2 fixed, 1 broken  (train tasks, since iteration 2)"
    assert changes.lines[1:] == ["  FIXED  1", "  FIXED  10", "  BROKEN  2"]


def test_what_changed_stands_beside_the_train_results(tmp_path: Path) -> None:
    export_train_results({"1": 1.0}, Changes("the baseline", ["1"], []), tmp_path)
    document = json.loads((tmp_path / "train_results.json").read_text())
    assert document["compared_with"] == "the baseline"
    assert document["fixed"] == ["1"] and document["broken"] == []


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A baseline and one recorded version."""
    ledger = Ledger(Store(tmp_path / "vault"), "m")
    ledger.append(Baseline("m", "b" * 64, "retail test, 40 tasks, m", val_score=0.5))
    suite = {"promoted": ["1"], "suite": {"1": 1.0, "2": 0.0}}
    gate = ledger.append(Gate("m", "a" * 64, "retail test", val_score=0.525, verdict="accepted", reveals=2, **suite))
    ledger.append(Record("m", "a" * 64, gate=gate.number, commit="c" * 40))
    return ledger


def test_the_suite_keeps_its_shape(tmp_path: Path, ledger: Ledger) -> None:
    export_ledger(ledger, tmp_path)
    shape = {"tasks": ["1"], "threshold": 0.8, "last_results": {"1": 1.0, "2": 0.0}}
    assert json.loads((tmp_path / "suite.json").read_text()) == shape


def test_each_kept_version_has_a_row(tmp_path: Path, ledger: Ledger) -> None:
    export_ledger(ledger, tmp_path)
    columns, _, values = (line.split("\t") for line in (tmp_path / "results.tsv").read_text().splitlines())
    assert columns[:6] == ["iteration", "val_score", "commit", "evals_passed", "evals_total", "timestamp"]
    assert values[:6] == ["1", "0.5250", "c" * 12, "1", "2", ledger.versions[-1].time]
    assert (columns[-1], values[-1]) == ("revealed", "2")


@pytest.mark.parametrize("name", ["suite.json", "results.tsv"])
def test_an_export_that_was_edited_or_cut_short_is_kept_aside_and_made_anew(
    tmp_path: Path, ledger: Ledger, name: str
) -> None:
    export_ledger(ledger, tmp_path)
    whole = (tmp_path / name).read_text()
    assert set_aside_edited(ledger, tmp_path) == []
    for number, edited in enumerate([whole[:20], whole.replace("1", "9"), ""], 1):
        (tmp_path / name).write_text(edited)
        [said] = set_aside_edited(ledger, tmp_path)
        stem, suffix = name.split(".")
        kept = f"{stem}.edited{number if number > 1 else ''}.{suffix}"
        assert said == f"{tmp_path / name} is not what the ledger says: kept as {kept}, and made anew"
        assert ((tmp_path / kept).read_text(), (tmp_path / name).read_text()) == (edited, whole)


def test_the_log_is_begun_once(tmp_path: Path) -> None:
    begin_learnings(tmp_path)
    (tmp_path / "learnings.md").write_text("mine")
    begin_learnings(tmp_path)
    assert (tmp_path / "learnings.md").read_text() == "mine"


def test_where_a_worker_has_its_log_is_not_told(tmp_path: Path) -> None:
    """Who knows a name in the vault can see the file's size and time, whatever confines him."""
    detail = "the simulation worker ended: Killed (log: /home/me/vault/runs/20261126T010203.000000-7-ab/worker-0.log)"
    export_traces([Outcome(Trial("1", 0, 0), Status.SETUP_ERROR, None, detail)], folder=tmp_path)
    written = "".join(path.read_text() for path in tmp_path.rglob("*.*") if path.is_file())
    assert "the simulation worker ended: Killed" in written and "vault" not in written
