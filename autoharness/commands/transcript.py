"""`benchmark.py --verbose`: prints conversations on standard error as they happen, then what was checked.

Each line begins with its task, since several go on at once. What an agent, a user simulator or a tool says is shown
and not obeyed: a terminal's control characters are taken out (`redaction.printable`).
"""

import json
import sys
from typing import Any, TextIO

from autoharness.core.outcomes import CUT_OFF, Outcome, Trial, is_cut_off
from autoharness.core.redaction import cut, one_line, printable
from autoharness.engine.callbacks import Callback
from autoharness.vault.workspace import what_was_checked

_MOST_CHARS = 4000
"""How much of one message is shown. What a database answers can be longer."""

Json = dict[str, Any]


class Transcript(Callback):
    """Prints what is said."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._heard: set[Trial] = set()

    def on_message(self, trial: Trial, place: int, message: Json) -> None:
        if place == 0 and trial in self._heard:
            self._print(trial, ["begins again: something broke it off"])
        self._heard.add(trial)
        self._print(trial, _lines(place, message))

    def on_trial_end(self, outcome: Outcome) -> None:
        if outcome.trial not in self._heard:  # it was run before
            for place, message in enumerate(outcome.messages):
                self._print(outcome.trial, _lines(place, message))
        reward = "no reward" if outcome.reward is None else f"reward {outcome.reward:.2f}"
        end = f"{outcome.status}, {reward}"
        why = [part for part in (outcome.termination, outcome.detail) if part]
        self._print(outcome.trial, [": ".join([end, *why]), *what_was_checked(outcome)])

    def _print(self, trial: Trial, lines: list[str]) -> None:
        """Print to the present standard error: a panel may have replaced it."""
        number = f" trial {trial.number}" if trial.number else ""
        for line in lines:
            shown = printable(line.encode(errors="backslashreplace").decode()).replace("\n", " ")
            print(f"[{one_line(trial.task_id, 60)}{number}] {shown}", file=self._stream or sys.stderr, flush=True)


def _lines(place: int, message: Json) -> list[str]:
    who = "tool, with an error" if message.get("error") else str(message["role"])
    said = cut(str(message.get("content") or ""), _MOST_CHARS).splitlines()
    lines = [f"{place} {who}: {said[0]}", *(f"  {line}" for line in said[1:])] if said else []
    lines += [f"  ({CUT_OFF})"] if is_cut_off(message) else []
    for call in message.get("tool_calls") or []:
        arguments = json.dumps(call["arguments"], ensure_ascii=False)
        lines.append(f"{place} {who} calls {call['name']}({cut(arguments, _MOST_CHARS)})")
    return lines
