"""The model `replay/FILE`: says the messages of a recorded tau2 results file again.

FILE is a results file of either flavour: one JSON file, or (tau2-bench 1.0.x) a folder with `results.json` and
`simulations/`. It scores a published conversation again, tests a changed tau2, and costs nothing.

A recording has an answer only as long as the conversation goes as recorded. What a role has heard since its last
message - the other side's words, the tools' results - is compared with the recording; at the first difference the
model fails and says where, since an answer to something else would make up a score. With `replay_tolerance` a tool
that failed then and fails now may word its error differently, as another version of a library does.
"""

import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any

from autoharness.core.errors import UserError
from autoharness.core.files import Remembered
from autoharness.core.settings import REPLAY
from autoharness.llm.calls import AGENT, JUDGE
from autoharness.llm.providers import ProviderFault, Request, Response

_ERROR = "Error"
"""How tau2 begins the answer of a failed call."""

Json = dict[str, Any]


class LeftTheRecording(ProviderFault):
    """The conversation is not the recorded one any more. Asking again cannot help."""

    def __init__(self, message: str) -> None:
        super().__init__(f"left the recording: {message}")
        self.retryable = False


class Replay:
    """One role of one recorded conversation."""

    def __init__(self, path: Path, task_id: str, trial: int, role: str, tolerant: bool = False) -> None:
        """`role` is "agent", "user" or "judge". Raises UserError if the file is not a results file."""
        self._tolerant = tolerant
        self._role = role
        self._speaker = "assistant" if role == AGENT else "user"
        self._recorded = _recorded_in(path).get((task_id, trial))
        self._where = f"task {task_id}, trial {trial} in {path.name}"

    def __call__(self, request: Request) -> Response:
        if self._role == JUDGE:
            raise LeftTheRecording("a recording holds no judge; name a judge_model")
        if self._recorded is None:
            raise LeftTheRecording(f"{self._where} is not in it")
        turns = [index for index, message in enumerate(self._recorded) if message["role"] == self._speaker]
        said = sum(message["role"] == "assistant" for message in request["messages"])
        if said >= len(turns):
            raise LeftTheRecording(f"{self._where} ends after {len(turns)} messages of the {self._speaker}")
        turn = turns[said]
        self._compare(f"message {turn} of {self._where}", _heard(request["messages"]), self._recorded[:turn])
        return _completion(self._recorded[turn])

    def _compare(self, place: str, heard: list[Json], before: list[Json]) -> None:
        """Raises LeftTheRecording if this role has heard, since its last message, something else than recorded."""
        expected = [message for message in _since_last(self._speaker, before) if _reaches(message, self._speaker)]
        if len(heard) != len(expected):
            raise LeftTheRecording(f"{place}: {len(expected)} messages came before it, now {len(heard)}")
        for now, recorded in zip(heard, expected, strict=True):
            if not _same(now.get("content"), recorded.get("content")) and not self._failed_both_times(now, recorded):
                raise LeftTheRecording(f"{place}: {_difference(now, recorded)}")

    def _failed_both_times(self, now: Json, recorded: Json) -> bool:
        fails_now = str(now.get("content")).startswith(_ERROR)
        return self._tolerant and recorded["role"] == "tool" and bool(recorded.get("error")) and fails_now


def _heard(messages: list[Json]) -> list[Json]:
    return [message for message in _since_last("assistant", messages) if message["role"] != "system"]


def _since_last(role: str, messages: list[Json]) -> list[Json]:
    """The messages after the last one of a role."""
    return list(takewhile(lambda message: message["role"] != role, reversed(messages)))[::-1]


def _reaches(message: Json, speaker: str) -> bool:
    if message["role"] == "tool":
        return bool(message.get("requestor", "assistant") == speaker)
    return not message.get("tool_calls")


def _same(now: str | None, recorded: str | None) -> bool:
    """Equal, or equal as JSON: 1 and true are not."""
    return (now or "") == (recorded or "") or _canonical(now) == _canonical(recorded)


def _canonical(text: Any) -> Any:
    try:
        return json.dumps(json.loads(text or ""), sort_keys=True)
    except (ValueError, TypeError, RecursionError):
        return text


def _difference(now: Json, recorded: Json) -> str:
    """Both texts from shortly before the place where they differ."""
    texts = [str(message.get("content")) for message in (recorded, now)]
    alike = next(
        (i for i, pair in enumerate(zip(*texts, strict=False)) if len(set(pair)) > 1), len(min(texts, key=len))
    )
    start = max(0, alike - 30)
    before, after = (("..." if start else "") + text[start : start + 100] for text in texts)
    return f"the {recorded['role']} said {before!r}, now {after!r}"


def _completion(message: Json) -> Response:
    calls = [
        {
            "id": call.get("id") or "",
            "type": "function",
            "function": {"name": call["name"], "arguments": json.dumps(call["arguments"])},
        }
        for call in message.get("tool_calls") or []
    ]
    answer = {"role": "assistant", "content": message.get("content"), "tool_calls": calls or None}
    return {"choices": [{"index": 0, "message": answer, "finish_reason": "stop"}], "cost_usd": 0.0}


def checksum(path: Path) -> str:
    """SHA-256 of the recording: a replay of another recording is another trial. Raises UserError."""
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    try:
        digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    except OSError as error:
        raise UserError(f"{REPLAY}{path}: {error.strerror}") from error
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _recorded_in(path: Path) -> dict[tuple[str, int], list[Json]]:
    """The messages of every simulation in a results file, by task id and trial. Raises UserError."""
    if path.is_dir():
        return _read_folder(path, checksum(path))
    try:
        return _files.of(path)
    except OSError as error:
        raise UserError(f"{REPLAY}{path}: {error.strerror}") from error


@lru_cache(maxsize=4)
def _read_folder(path: Path, _: str) -> dict[tuple[str, int], list[Json]]:
    return _read(path)


def _read(path: Path) -> dict[tuple[str, int], list[Json]]:
    try:
        simulations = list(_simulations(path))
        return {(str(one["task_id"]), one.get("trial") or 0): _messages(one) for one in simulations}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{REPLAY}{path}: not a tau2 results file ({type(error).__name__}: {error})") from error


_files = Remembered(_read)


def _simulations(path: Path) -> Iterator[Json]:
    if not path.is_dir():
        yield from json.loads(path.read_text(encoding="utf-8"))["simulations"]
        return
    results = json.loads((path / "results.json").read_text(encoding="utf-8"))
    yield from results.get("simulations") or []
    for file in sorted((path / "simulations").glob("*.json")):
        yield json.loads(file.read_text(encoding="utf-8"))


def _messages(simulation: Json) -> list[Json]:
    messages: list[Json] = simulation["messages"]
    return [message for message in messages if message["role"] in ("assistant", "user", "tool")]
