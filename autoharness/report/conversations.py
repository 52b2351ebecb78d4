"""Prepares the conversations of train tasks for the page's viewer.

A task's trials are one list of JSON objects. In a page that opens from disk it is compressed: hundreds of
conversations about one task are much alike. The viewer makes text of them, never markup.
"""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, repeat
from typing import Any

from autoharness.core.outcomes import CUT_OFF, Outcome, by_task, is_cut_off, known_cost, passed
from autoharness.report.failed_checks import remarks, results_of
from autoharness.report.visible_trials import Kept

MOST_BYTES = 100_000_000
"""How much of trials' files a page from disk carries; `report.py --serve` shows all."""

Json = dict[str, Any]


def chosen(trials: Sequence[Kept], first: Sequence[str], most_bytes: int) -> list[Kept]:
    """The trials that a page can carry. `first`: agent files, the ones that matter most first."""
    rank = {agent: place for place, agent in enumerate(first)}
    found, size = [], 0
    for kept in sorted(trials, key=lambda one: rank.get(one.outcome.trial.agent, len(rank))):
        size += kept.size
        if size > most_bytes:
            break
        found.append(kept)
    return found


def packed(trials: Sequence[Kept], names: Mapping[str, str]) -> dict[str, str]:
    """By task id: its trials as JSON, deflated (zlib), in base64. See `listed`."""
    by_id = by_task((kept.outcome.trial.task_id, kept) for kept in trials)
    return {
        task_id: base64.b64encode(zlib.compress(json.dumps(listed(some, names)).encode(), 6)).decode()
        for task_id, some in by_id.items()
    }


def listed(trials: Sequence[Kept], names: Mapping[str, str]) -> list[Json]:
    """The trials of one task in the order of the versions. `names`: of agent files (SHA-256), oldest first."""
    place = {agent: number for number, agent in enumerate(names)}
    mine = [kept for kept in trials if kept.outcome.trial.agent in place]
    mine.sort(key=lambda kept: (place[kept.outcome.trial.agent], kept.outcome.trial.number))
    return [_read(kept, names[kept.outcome.trial.agent]) for kept in mine]


def _read(kept: Kept, name: str) -> Json:
    """A conversation that cannot be shown says so in its place: the others can be shown."""
    try:
        return _shown(kept.read(), name, kept.wrong)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        broken = replace(kept.outcome, detail=f"this conversation cannot be shown: {error!r:.200}", notes=[])
        return _shown(broken, name, "")


def _shown(outcome: Outcome, name: str, wrong: str) -> Json:
    beside: dict[int, list[str]] = {}
    for remark in [] if passed(outcome.reward) else remarks(outcome):
        beside.setdefault(remark.turn, []).append(remark.text)
    turns = [
        _turn(number, message, results_of(outcome.messages, number), beside.get(number, []))
        for number, message in enumerate(outcome.messages)
        if message["role"] != "tool"
    ]
    return {
        "version": name,
        "agent": outcome.trial.agent,
        "trial": outcome.trial.number,
        "status": outcome.status,
        "reward": outcome.reward,
        "detail": outcome.detail,
        "wrong": wrong,
        "termination": outcome.termination,
        "notes": outcome.notes,
        "turns": turns,
        "end": beside.get(len(outcome.messages), []),
        "parts": outcome.reward_info.get("reward_breakdown") or {},
        "seconds": outcome.duration_s,
        "calls": {role: usage.calls + usage.cached_calls for role, usage in outcome.usage.items()},
        "cost_usd": known_cost(outcome.usage.values()),
    }


def _turn(number: int, message: Json, results: Sequence[Json], beside: Sequence[str]) -> Json:
    """A message, with the result of each of its tool calls."""
    calls = []
    for call, result in zip(message.get("tool_calls") or [], chain(results, repeat({})), strict=False):
        calls.append(
            {
                "name": call["name"],
                "arguments": call["arguments"],
                "result": result.get("content"),
                "failed": bool(result.get("error")),
            }
        )
    return {
        "number": number,
        "role": message["role"],
        "text": message.get("content"),
        "calls": calls,
        "beside": [*([CUT_OFF] if is_cut_off(message) else []), *beside],
    }
