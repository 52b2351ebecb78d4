"""Each failed check stands beside the turn that caused it, or at the end."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import RECORDINGS

from autoharness.core.outcomes import Outcome, Status, Trial
from autoharness.report.failed_checks import remarks


def _call(name: str, number: int, **arguments: object) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": str(number), "name": name, "arguments": arguments}],
    }


def _result(number: int, error: bool = False) -> dict[str, Any]:
    return {"role": "tool", "id": str(number), "content": "{}", "error": error}


def _action(name: str, match: bool = False, **arguments: object) -> dict[str, Any]:
    return {
        "action": {"name": name, "arguments": arguments, "requestor": "assistant"},
        "action_match": match,
    }


def _found(messages: list[dict[str, Any]], status: Status = Status.FAILED, **fields: Any) -> list[tuple[int, str]]:
    outcome = Outcome(Trial("1", 0, 0), status, 0.0, messages=messages, **fields)
    return [(remark.turn, remark.text) for remark in remarks(outcome)]


CONVERSATION = [
    {"role": "user", "content": "cancel it"},
    _call("get_order", 1, order="#W1"),
    _result(1),
    _call("cancel_order", 2, order="#W1", reason="none"),
    _result(2),
    _call("cancel_order", 3, order="#W2", reason="mistake"),
    _result(3, error=True),
]
END = len(CONVERSATION)


@pytest.mark.parametrize(
    ("check", "turn", "text"),
    [
        (_action("cancel_order", order="#W1", reason="mistake"), 5, 'order "#W1", not "#W2"'),
        (_action("cancel_order", order="#W1", reason="other"), 3, 'reason "other", not "none"'),
        (_action("cancel_order", order="#W2", reason="mistake"), 5, "it failed"),
        (_action("return_order", order="#W1"), END, 'never made: return_order({"order": "#W1"})'),
    ],
    ids=["the-likeliest-call", "another-argument", "a-failed-call", "no-such-call"],
)
def test_a_reference_call(check: dict[str, Any], turn: int, text: str) -> None:
    [(found, said)] = _found(CONVERSATION, reward_info={"action_checks": [check]})
    assert found == turn
    assert text in said


def test_a_reference_call_that_was_made_is_no_remark() -> None:
    assert _found(CONVERSATION, reward_info={"action_checks": [_action("cancel_order", match=True)]}) == []


@pytest.mark.parametrize(
    ("path", "turn"),
    [
        ("agent.orders.#W1.status", 3),
        ("agent.orders.#W2.status", END),
        ("agent.orders.#W.status", END),
        ("agent.lines[1].roaming", END),
        ("agent.users", END),
    ],
    ids=["the-last-writing-call-that-names-it", "a-call-that-failed", "a-prefix-is-no-name", "a-list", "a-table"],
)
def test_a_record_that_differs(path: str, turn: int) -> None:
    [(found, said)] = _found(CONVERSATION, database_diff=[{"path": path, "expected": "open", "actual": "cancelled"}])
    assert found == turn
    assert '"cancelled", expected "open"' in said


def test_a_record_is_named_once() -> None:
    diff = [{"path": f"agent.orders.#W1.{name}", "expected": 1, "actual": 2} for name in ("status", "price")]
    assert _found(CONVERSATION, database_diff=diff) == [
        (3, "agent.orders.#W1 is not as the reference leaves it after this call: status is 2, expected 1; "
            "price is 2, expected 1")
    ]  # fmt: skip


def test_what_has_no_turn_stands_at_the_end() -> None:
    assertion = {"func_name": "is_on", "arguments": {}, "env_type": "user", "assert_value": True}
    info = {
        "communicate_checks": [{"info": "9.89", "met": False}, {"info": "1", "met": True}],
        "env_assertions": [{"env_assertion": assertion, "met": False}],
        "nl_assertions": [{"nl_assertion": "it is polite", "justification": "it swore", "met": False}],
    }
    found = _found(CONVERSATION, Status.AGENT_ERROR, reward_info=info, detail="it crashed")
    assert [turn for turn, _ in found] == [END] * 4
    assert [text for _, text in found] == [
        "the agent's own error: it crashed",
        "the customer was never told: 9.89",
        "at the end is_on({}) is not True",
        "not met: it is polite (it swore)",
    ]


@pytest.mark.skipif(not RECORDINGS.exists(), reason="the recordings are not here")
def test_every_failure_of_the_recordings_has_a_remark_in_its_conversation_or_at_its_end() -> None:
    seen = 0
    for name in ("airline-test-ft-gpt-4.1", "retail-test-ft-gpt-4.1", "telecom-test-ft-gpt-4.1"):
        for one in json.loads(Path(RECORDINGS / f"{name}.json").read_text())["simulations"]:
            info = one.get("reward_info") or {}
            if info.get("reward") == 1 or not info.get("action_checks"):
                continue
            found = _found(one["messages"], reward_info=info)
            assert all(0 <= turn <= len(one["messages"]) for turn, _ in found)
            seen += bool(found)
    assert seen >= 5
