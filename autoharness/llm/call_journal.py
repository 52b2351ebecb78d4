"""LLM answers that are kept: for a further try of a simulation (`Journal`), and for other agent files (`Answers`).

With the journal of its calls and answers a further try continues from there, and is not a second draw.

    VAULT/unfinished/NAME.jsonl    {"journal": version, "begun_ns"}  {"failed": why}  {"forget": role}
                                   {"failed": why, "plain": true}: from here on tau2's plain path
                                   {"forget_words": turn}: heard and said from this turn on does not count any more
                                   {"reported": true}
                                   {"paid": role, "usage"}: what a call cost, useful or not
                                   {"made": digest, "turn"}: a request that the agent made, answered or not
                                   {"role", "asked": digest, "turn", "answer"}: what an LLM was asked, and said
                                   {"role", "asked": digest, "turn", "refused": why it was not asked or did not say}
                                   {"turn", "heard": digest, "said": the agent's message}

The file exists until the simulation has a reward, so a try may be made by another worker, by another command, or
after a kill. An answer that was paid for is not asked for again: before each request, room on the disk is reserved
for what comes. In a further try the agent hears what it heard, and has to say what it said: a difference is its own
failure, and its first words cannot be taken back.
"""

import ctypes
import fcntl
import functools
import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoharness.core.command_form import installing
from autoharness.core.errors import UserError
from autoharness.core.exhausted import is_of_a_disk, mended_by_a_person
from autoharness.core.outcomes import Usage, known_fields

_VERSION = 1
_LONGEST_END_S = 10.0
"""A worker ends within this time after its command."""
_ROOM_BYTES = 64 * 1024
"""Room for the result of one request: an answer, what it cost, and what the agent says then."""
_KEEP_SIZE = 1
"""fallocate(2): room beyond the end of the file; the file's length stays."""
AGENT = "agent"

Json = dict[str, Any]


@dataclass
class Answer:
    """The result of one request."""

    role: str
    asked: str
    """A digest of the request."""
    turn: int
    """The agent's turn in which it was made."""
    answer: Json
    refused: str = ""
    """Why there is no answer."""
    used: bool = False
    """Whether this try has asked it already."""


class Journal:
    """What one trial's agent asked and heard. One thread at a time uses it."""

    def __init__(self, file: Path | None = None) -> None:
        """`file`: None if the journal need not outlive this process."""
        self._file = file
        self._descriptor = -1
        self._room_until = 0
        """Up to where the file has room reserved on the disk."""
        self._answers: list[Answer] = []
        self._made: dict[int, list[str]] = {}
        """The agent's requests by turn, in the order in which they were made."""
        self._place = 0
        """The number of the agent's next request in this turn of this try."""
        self._said: dict[int, tuple[str, Json]] = {}
        """By turn: a digest of what the agent heard, and its message."""
        self.unreported: list[tuple[str, Usage]] = []
        """By role: usage of calls that no outcome has reported, since the process that made them was killed."""
        self.failures = 0
        """How often infrastructure failed a try or a call, so that it was repeated. A kill does not count."""
        self.turn = 0
        """The agent's turn in this try, from 0."""
        self.plain = ""
        """Why we ourselves repeat the conversation on tau2's plain path, where tools may answer something else."""
        self.begun_ns = time.time_ns()
        """When the first try began."""
        if file:
            with suppress(OSError):
                self._open(file)

    def note_failure(self, why: str) -> None:
        self.failures += 1
        self._write({"failed": why})

    def go_plain(self, why: str) -> None:
        """Repeat the conversation on tau2's plain path, in this try and in any later one."""
        self.failures += 1
        self.plain = why
        self._write({"failed": why, "plain": True})

    def note_paid(self, role: str, usage: Usage) -> None:
        self._write({"paid": role, "usage": vars(usage)})

    def note_reported(self) -> None:
        """An outcome reports what was paid so far."""
        self._write({"reported": True})

    def rewind(self) -> None:
        """Go back to the beginning: earlier answers can be recalled."""
        self.turn = self._place = 0
        for answer in self._answers:
            answer.used = False

    def make(self, asked: str) -> str:
        """Note a request of the agent, before its answer. Returns the request that had its place in an earlier try: a
        date in the agent's prompt may have changed since then."""
        made = self._made.setdefault(self.turn, [])
        place, self._place = self._place, self._place + 1
        if place < len(made):
            return made[place]
        made.append(asked)
        self._write({"made": asked, "turn": self.turn})
        return asked

    @property
    def refusals(self) -> int:
        """How many requests were refused, in all tries."""
        return sum(bool(one.refused) for one in self._answers)

    def recall(self, role: str, asked: str, instead_of: str = "") -> Answer | None:
        """The result of this request in an earlier try; None if it was not made then.

        `instead_of`: another request, whose answer the agent gets if it never made this one. Raises UserError if the
        disk has no room for a new answer.
        """
        at_hand = [one for one in self._answers if one.role == role and not one.used]
        if role == AGENT:
            at_hand = [one for one in at_hand if one.turn == self.turn]
        found = next((one for one in at_hand if one.asked == asked), None)
        if found is None and instead_of:
            found = next((one for one in at_hand if one.asked == instead_of), None)
        if found:
            found.used = True
        else:
            self._make_room()
        return found

    def begin_turn(self) -> None:
        self.turn += 1
        self._place = 0

    def note_answer(self, role: str, asked: str, answer: Json) -> None:
        self._answers.append(Answer(role, asked, self.turn, answer, used=True))
        self._write({"role": role, "asked": asked, "turn": self.turn, "answer": answer})

    def note_refusal(self, role: str, asked: str, why: str) -> None:
        self._answers.append(Answer(role, asked, self.turn, {}, why, used=True))
        self._write({"role": role, "asked": asked, "turn": self.turn, "refused": why})

    def forget(self, role: str) -> None:
        """Drop its answers: they were of no use."""
        self._answers = [one for one in self._answers if one.role != role]
        self._write({"forget": role})

    def answers_of(self, role: str) -> list[Json]:
        return [one.answer for one in self._answers if one.role == role and not one.refused]

    def said_before(self) -> tuple[str, Json] | None:
        """What the agent heard and said in this turn of an earlier try."""
        return self._said.get(self.turn)

    def forget_words(self) -> None:
        """Drop what the agent heard and said from this turn on."""
        self._forget_words_from(self.turn)
        self._write({"forget_words": self.turn})

    def _forget_words_from(self, first: int) -> None:
        self._said = {turn: said for turn, said in self._said.items() if turn < first}

    def note_said(self, heard: str, message: Json) -> None:
        self._said[self.turn] = heard, message
        self._write({"turn": self.turn, "heard": heard, "said": message})

    def close(self) -> None:
        """Keep the file, without the room that it did not need."""
        if self._descriptor >= 0:
            with suppress(OSError):
                os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size)
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self, file: Path) -> None:
        """Read what earlier tries have left. A line that a kill cut short counts as not written. Raises OSError."""
        file.parent.mkdir(mode=0o700, exist_ok=True)
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._wait()
        lines = file.read_bytes().split(b"\n")
        for line in lines:
            with suppress(ValueError, KeyError, TypeError, OverflowError, RecursionError):
                self._take(json.loads(line))
        if lines == [b""]:
            try:
                self._append({"journal": _VERSION, "begun_ns": self.begun_ns})
            except OSError:  # `_make_room` tries again
                self.close()
                raise

    def _wait(self) -> None:
        """Wait for the worker of a just killed command: nobody else works on the trial (`trial_claims`)."""
        until = time.monotonic() + _LONGEST_END_S
        while time.monotonic() < until:
            with suppress(BlockingIOError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(0.05)

    def _take(self, entry: Json) -> None:
        if "failed" in entry:
            self.failures += 1
            if entry.get("plain"):
                self.plain = str(entry["failed"])
        elif "paid" in entry:
            usage = Usage(**known_fields(Usage, entry["usage"]))
            if not all(type(value) in (int, float) for value in vars(usage).values()):
                raise TypeError
            self.unreported.append((str(entry["paid"]), usage))
        elif "reported" in entry:
            self.unreported.clear()
        elif "made" in entry:
            self._made.setdefault(entry["turn"], []).append(entry["made"])
        elif "journal" in entry:
            self.begun_ns = int(entry.get("begun_ns", self.begun_ns))
        elif "asked" in entry:
            answer, refused = dict(entry.get("answer") or {}), entry.get("refused") or ""
            self._answers.append(Answer(entry["role"], entry["asked"], entry["turn"], answer, refused))
        elif "said" in entry:
            self._said[entry["turn"]] = entry["heard"], entry["said"]
        elif "forget_words" in entry:
            self._forget_words_from(entry["forget_words"])
        elif "forget" in entry:
            self._answers = [one for one in self._answers if one.role != entry["forget"]]

    def _write(self, entry: Json) -> None:
        """If an entry cannot be written, this process still knows it."""
        if self._descriptor >= 0:
            with suppress(OSError):
                self._append(entry)

    def _append(self, entry: Json) -> None:
        line = b"\n" + json.dumps(entry).encode() + b"\n"
        while line:
            line = line[os.write(self._descriptor, line) :]

    def _make_room(self) -> None:
        if self._file is None:
            return
        try:
            if self._descriptor < 0:
                self._open(self._file)
            end = os.fstat(self._descriptor).st_size
            if self._room_until - end < _ROOM_BYTES // 2:
                _allocate()(self._descriptor, end, _ROOM_BYTES)
                self._room_until = end + _ROOM_BYTES
        except OSError as error:
            if is_of_a_disk(error):
                raise mended_by_a_person(error, self._file.parent) from error


@functools.cache
def _allocate() -> Callable[[int, int, int], None]:
    """A function that reserves room on the disk. If the system or the disk does not support that, as some network
    disks do not, it reserves none: then a full disk loses the answer that is being asked for."""
    fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)

    def allocate(descriptor: int, begin: int, length: int) -> None:
        if fallocate and fallocate(descriptor, _KEEP_SIZE, ctypes.c_int64(begin), ctypes.c_int64(length)):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    return allocate


_CACHE = "'auto-harness[cache]'"


class Answers:
    """A cache of LLM answers across runs (`llm_cache`), in a folder of the vault. Used by many threads and processes.

    Answers are kept for each trial: the same task and trial number, the same model and arguments, the same request,
    asked the same number of times before. So a candidate shares the conversation with the incumbent up to where their
    prompts differ: fewer calls are paid for, and a comparison of the two has less noise. Other trials of the task
    have their own answers, otherwise repeating them would measure nothing.
    """

    def __init__(self, folder: Path) -> None:
        """Raises UserError if the library is not installed."""
        try:
            import diskcache
        except ImportError:
            raise UserError(f"llm_cache: diskcache is not installed: {installing(_CACHE)}") from None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(OSError):  # somebody else's
            folder.chmod(0o700)  # conversations of held-out tasks are in it
        # nothing is ever dropped: otherwise the two sides of a comparison would differ in what they find
        self._cache = diskcache.Cache(str(folder), disk=diskcache.JSONDisk, eviction_policy="none")
        self._lock = threading.Lock()

    def find(self, key: str) -> Json | None:
        """None also if the folder cannot be read: an answer that is not found is paid for."""
        with self._lock, suppress(Exception):  # sqlite's, the disk's
            answer = self._cache.get(key)
            return answer if isinstance(answer, dict) else None
        return None

    def keep(self, key: str, answer: Json) -> None:
        """The first answer stays. If the disk is full it is not kept: it was paid for, and counts all the same."""
        with self._lock, suppress(Exception):
            self._cache.add(key, answer)
