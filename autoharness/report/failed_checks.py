"""Finds the turn of a conversation that caused each failed check, as far as can be told.

    a reference call with other arguments        the last call of that tool by the same side
    a record that differs in the database        the last call that names it and may have changed it
    everything else                              the end

A call may change records that it does not name, and several may change one: the turn is a guess, and says so.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat, takewhile
from typing import Any

from autoharness.core.outcomes import Outcome, Status

Json = dict[str, Any]

_READING = ("get_", "find_", "list_", "search_", "check_", "calculate", "think", "transfer_to_human")
"""How the names of tools that change nothing begin."""
_RECORD = re.compile(r"[^.\[]+\.[^.\[]+(\.[^.\[]+|\[\d+\])?")
"""The beginning of a difference's path, such as `agent.orders.#W1` or `agent.lines[1]`."""


@dataclass(frozen=True)
class Remark:
    """Something that was checked and failed."""

    turn: int
    """The index of a message; the number of messages stands for the end."""
    text: str


@dataclass(frozen=True)
class _Call:
    turn: int
    by: str
    name: str
    arguments: Json
    failed: bool

    @property
    def may_write(self) -> bool:
        return not self.failed and not self.name.startswith(_READING)


def remarks(outcome: Outcome) -> list[Remark]:
    """One for each failed check, in the order of the conversation."""
    calls, end = list(_calls(outcome.messages)), len(outcome.messages)
    found = [
        *_errors(outcome),
        *_actions(outcome, calls, end),
        *_records(outcome, calls, end),
        *_checks(outcome, end),
    ]
    return sorted(found, key=lambda remark: remark.turn)


def _calls(messages: Sequence[Json]) -> Iterator[_Call]:
    for turn, message in enumerate(messages):
        calls = message.get("tool_calls") or []
        for call, result in zip(calls, chain(results_of(messages, turn), repeat({})), strict=False):
            arguments = call["arguments"] if isinstance(call["arguments"], dict) else {}
            yield _Call(turn, message["role"], call["name"], arguments, bool(result.get("error")))


def results_of(messages: Sequence[Json], turn: int) -> list[Json]:
    """The results of a message's tool calls, in their order. By place: servers give several calls the same id."""
    return list(takewhile(lambda message: message["role"] == "tool", islice(messages, turn + 1, None)))


def _errors(outcome: Outcome) -> Iterator[Remark]:
    if outcome.status in (Status.AGENT_ERROR, Status.TIMED_OUT):
        yield Remark(len(outcome.messages), f"the agent's own error: {outcome.detail}")


def _actions(outcome: Outcome, calls: Sequence[_Call], end: int) -> Iterator[Remark]:
    for check in outcome.reward_info.get("action_checks") or []:
        if check["action_match"]:
            continue
        action = check["action"]
        same = [call for call in calls if (call.by, call.name) == (action["requestor"], action["name"])]
        if not same:
            yield Remark(end, f"a reference call was never made: {action['name']}({_short(action['arguments'])})")
            continue
        call = min(same, key=lambda one: (_unlike(one.arguments, action["arguments"]), -one.turn))
        differing = ", ".join(_otherwise(call.arguments, action["arguments"]))
        if call.failed and not differing:
            differing = "it failed"
        yield Remark(call.turn, f"the reference makes this call otherwise: {differing or 'more arguments'}")


def _unlike(made: Json, wanted: Json) -> int:
    return len(_otherwise(made, wanted))


def _otherwise(made: Json, wanted: Json) -> list[str]:
    names = [name for name in {**wanted, **made} if made.get(name) != wanted.get(name)]
    return [f"{name} {_short(wanted.get(name))}, not {_short(made.get(name))}" for name in names]


def _records(outcome: Outcome, calls: Sequence[_Call], end: int) -> Iterator[Remark]:
    """One for each record of the database that differs."""
    by_record: dict[str, list[Json]] = {}
    for difference in outcome.database_diff:
        found = _RECORD.match(difference["path"])
        by_record.setdefault(found[0] if found else difference["path"], []).append(difference)
    for record, differences in by_record.items():
        name = json.dumps(record.rpartition(".")[2])
        writes = [call for call in calls if call.may_write and name in _short(call.arguments)]
        fields = "; ".join(_field(record, one) for one in differences)
        if writes:
            yield Remark(writes[-1].turn, f"{record} is not as the reference leaves it after this call: {fields}")
        else:
            yield Remark(end, f"{record} is not as the reference leaves it: {fields}")


def _field(record: str, difference: Mapping[str, Any]) -> str:
    name = difference["path"].removeprefix(record).lstrip(".") or "it"
    return f"{name} is {_short(difference['actual'])}, expected {_short(difference['expected'])}"


def _checks(outcome: Outcome, end: int) -> Iterator[Remark]:
    info = outcome.reward_info
    for check in info.get("communicate_checks") or []:
        if not check["met"]:
            yield Remark(end, f"the customer was never told: {check['info']}")
    for check in info.get("env_assertions") or []:
        if not check["met"]:
            assertion = check["env_assertion"]
            call = f"{assertion['func_name']}({_short(assertion['arguments'])})"
            yield Remark(end, f"at the end {call} is not {assertion['assert_value']}")
    for check in info.get("nl_assertions") or []:
        if not check["met"]:
            yield Remark(end, f"not met: {check['nl_assertion']} ({check['justification']})")
    for check in info.get("checks") or []:  # of your own benchmark
        if not check["met"]:
            yield Remark(end, f"not met: {check['what']}" + (f" ({check['why']})" if check["why"] else ""))


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
