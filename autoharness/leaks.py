"""What an edit of agent/agent.py gives away: identifiers of benchmark records, or a scenario's text.

Pure text against text, before any trial is paid for. Only what the edit added counts, and nothing that the agent is
given anyway (policy, tool schemas). Found, in code, literals and comments: whole identifiers in any case and with any
separators, in pieces that stand side by side ("W237" + "8156"), behind escapes, in f-strings, bytes and integers, a
literal reversed or in base64 or hex; first and last name within a few words of each other; eight words in a row.

It does not find what has to be computed: encryption, compression, arithmetic, slices, character codes, pieces that
stand apart, an identifier inside a longer word. Nor what is too ordinary to tell: a first name alone, zip codes,
dates of birth, cities, products and their options, prices, task ids that are plain numbers; a scenario retold, or cut
into runs of seven words. It says whether a file names records, not whether an agent is honest.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from autoharness import literals

_PHRASE_WORDS = 8
_NAME_WITHIN_WORDS = 6
_MOST_PIECES = 12
_LONGEST_SOURCE_CHARS = 500_000
_LONGEST_LINE_CHARS = 120
_MOST_LEAKS = 100
_KINDS = {
    "orders": "order id",
    "reservations": "reservation id",
    "address1": "address",
    "street": "address",
    "email": "email",
    "phone_number": "phone number",
    "imei": "IMEI",
    "flight_number": "flight number",
    "full_name": "name",
}
_ID_KEY = re.compile(r"(?!action_)(.+_)?ids?")
_SHORT_CODE = re.compile(r"(?=.*[A-Z])[A-Z0-9]{6}")
_LONG_NUMBER = re.compile(r"[0-9]{7,}")
_LONG_ID_CHARS = 24

Json = dict[str, Any]


@dataclass(frozen=True)
class Leak:
    line: int
    """In the edited file, from 1."""
    text: str
    """The line, cut to a readable length."""
    what: str
    """What it carries: "the user id mia_li_3668"."""


@dataclass(frozen=True)
class Secrets:
    """What no edit may name; all of it in lower case."""

    identifiers: dict[str, str]
    """What it is, by the identifier's letters and digits: {"w2378156": "the order id #W2378156"}."""
    names: frozenset[tuple[str, str]]
    """(first, last) and (last, first)."""
    phrases: frozenset[str]
    """Runs of eight words in a task's texts, without those that all tasks share."""

    @classmethod
    def of(cls, material: Json) -> "Secrets":
        """From {"databases": {...}, "tasks": [...], "policy": str, "tools": [...]}: see `Tau2.material`."""
        leaves = list(dict.fromkeys(_leaves([material["databases"], material["tasks"]])))
        people = [literals.words(text) for key, text in leaves if key == "full_name"]
        names = {pair for one in people if len(one) > 1 for pair in ((one[0], one[-1]), (one[-1], one[0]))}
        given = [material["policy"], *(text for _, text in _leaves(material["tools"]))]
        every = cls(_identifiers(leaves), frozenset(names), frozenset(_phrases(material["tasks"])))
        return every._without(literals.words(" ".join(given)))

    def _without(self, given: list[str]) -> "Secrets":
        """Less what the agent is given anyway."""
        known = {match.what for match in _records_in(given, self)}
        names = {(given[match.start], given[match.stop - 1]) for match in _names_in(given, self)}
        return Secrets(
            {key: what for key, what in self.identifiers.items() if what not in known},
            self.names - names,
            self.phrases - set(_runs(given)),
        )


class _Match(NamedTuple):
    """A place in a list of words: words[start:stop]."""

    start: int
    stop: int
    what: str


def scan(before: str, after: str, secrets: Secrets) -> list[Leak]:
    """What the lines of `after` carry that `before` has not: at most 100 leaks, by line. Never raises.

    A file that cannot be looked through - over 500,000 characters, nested too deep to parse - is itself a leak.
    """
    lines = literals.lines(after)
    if len(after) > _LONGEST_SOURCE_CHARS:
        return [_leak(lines, 1, f"over {_LONGEST_SOURCE_CHARS} characters, too many to look through")]
    try:
        found = _new(before, after, secrets)
    except (RecursionError, MemoryError):
        return [_leak(lines, 1, "an expression nested too deep to look through")]
    return [_leak(lines, number, what) for number, what in sorted(found)[:_MOST_LEAKS]]


def _leak(lines: list[str], number: int, what: str) -> Leak:
    text = lines[number - 1].strip()[:_LONGEST_LINE_CHARS]
    return Leak(number, "".join(char if char.isprintable() else " " for char in text), what)


def _new(before: str, after: str, secrets: Secrets) -> set[tuple[int, str]]:
    """(line, what): what stands in an added line, or nowhere in `before`, as where a deletion joins two halves."""
    in_lines, in_literals = list(_in_lines(after, secrets)), list(_in_literals(after, secrets))
    if not in_lines and not in_literals:
        return set()
    old = {words for _, words, _ in [*_in_lines(before, secrets), *_in_literals(before, secrets)]}
    old_lines = {line.strip() for line in literals.lines(before)}  # a line that only moved is not new
    added = {number for number, line in enumerate(literals.lines(after), 1) if line.strip() not in old_lines}
    found = {
        (min(added & set(numbers), default=numbers[0]), what)
        for numbers, words, what in in_lines
        if words not in old or not added.isdisjoint(numbers)
    }
    shown = {what for _, what in found}
    hidden = [(numbers, what) for numbers, words, what in in_literals if words not in old and what not in shown]
    return found | {(next(filter(added.__contains__, numbers), numbers[0]), what) for numbers, what in hidden}


def _in_lines(source: str, secrets: Secrets) -> Iterator[tuple[Sequence[int], str, str]]:
    """(lines, words, what) in the words of the file, whatever they stand in and wherever the lines break."""
    numbered = enumerate(literals.lines(source), 1)
    placed = [(word, number) for number, line in numbered for word in literals.words(line)]
    words = [word for word, _ in placed]
    for start, stop, what in _matches(words, secrets):
        yield [number for _, number in placed[start:stop]], " ".join(words[start:stop]), what


def _in_literals(source: str, secrets: Secrets) -> Iterator[tuple[Sequence[int], str, str]]:
    """(lines, words, what) in the values that its literals have."""
    for first, last, text in literals.texts(source):
        words = literals.words(text)
        for start, stop, what in _matches(words, secrets):
            yield range(first, last + 1), " ".join(words[start:stop]), what


def _matches(words: list[str], secrets: Secrets) -> Iterator[_Match]:
    yield from _records_in(words, secrets)
    yield from _names_in(words, secrets)
    for start, run in enumerate(_runs(words)):
        if run in secrets.phrases:
            yield _Match(start, start + _PHRASE_WORDS, "words of a task's scenario")


def _records_in(words: list[str], secrets: Secrets) -> Iterator[_Match]:
    """The longest identifier that starts at a word; the search goes on behind it."""
    start = 0
    while start < len(words):
        match = _record_at(words, start, secrets.identifiers)
        if match:
            yield match
        start = match.stop if match else start + 1


def _record_at(words: list[str], start: int, identifiers: dict[str, str]) -> _Match | None:
    match, joined = None, ""
    for stop in range(start + 1, min(start + _MOST_PIECES, len(words)) + 1):
        joined += words[stop - 1]
        if joined in identifiers and (stop == start + 1 or _is_rare(joined)):
            match = _Match(start, stop, identifiers[joined])
    if match is None:  # a long number tells by itself, whatever letters it touches
        inside = [number for number in _LONG_NUMBER.findall(words[start]) if number in identifiers]
        match = _Match(start, start + 1, identifiers[inside[0]]) if inside else None
    return match


def _is_rare(joined: str) -> bool:
    """Whether neighbouring words do not spell it by chance, as short words or a table of numbers might."""
    return len(joined) >= 10 or not (joined.isdigit() or joined.isalpha())


def _names_in(words: list[str], secrets: Secrets) -> Iterator[_Match]:
    """First and last name near each other: {"first_name": "Mia", "last_name": "Li"} names Mia Li."""
    for start, word in enumerate(words):
        for stop, other in enumerate(words[start + 1 : start + 1 + _NAME_WITHIN_WORDS], start + 2):
            if (word, other) in secrets.names:
                yield _Match(start, stop, f"the name {word.title()} {other.title()}")


def _identifiers(leaves: list[tuple[str, str]]) -> dict[str, str]:
    """What each record is, by its letters and digits; a long number in it also stands alone."""
    records = {
        "".join(literals.words(text)): f"the {_kind(key)} {text}"
        for key, text in reversed(leaves)  # the first mention, in the database, names it best
        if _names_record(key, text)
    }
    numbers = {number: f"the number {number} of a record" for key in records for number in _LONG_NUMBER.findall(key)}
    return numbers | records


def _kind(key: str) -> str:
    """What the values under this key are; empty where they name no record."""
    return _KINDS.get(key) or (key.removesuffix("s").replace("_", " ") if _ID_KEY.fullmatch(key) else "")


def _names_record(key: str, text: str) -> bool:
    """Whether it is the name of one record and no ordinary word or number: not task id 12, nor user_1."""
    letters_and_digits = "".join(literals.words(text))
    digits = sum(map(str.isdigit, letters_and_digits))
    if not _kind(key):
        return False
    if key in ("email", "full_name") or _SHORT_CODE.fullmatch(text) or len(letters_and_digits) >= _LONG_ID_CHARS:
        return True
    return digits >= (7 if letters_and_digits.isdigit() else 3) and len(letters_and_digits) >= 5


def _phrases(tasks: list[Json]) -> Iterator[str]:
    """What every task says in the same words tells none of them apart, and a prompt may well say it too."""
    tasks_with = Counter(
        run for task in tasks for run in {r for _, text in _leaves(task) for r in _runs(literals.words(text))}
    )
    return (run for run, count in tasks_with.items() if count < max(2, len(tasks)))


def _runs(words: list[str]) -> Iterator[str]:
    return (" ".join(words[n : n + _PHRASE_WORDS]) for n in range(len(words) - _PHRASE_WORDS + 1))


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """(key, text) of every text in a JSON value; a person's two names also as one text, under `full_name`."""
    if isinstance(value, dict):
        if {"first_name", "last_name"} <= value.keys():
            yield "full_name", f"{value['first_name']} {value['last_name']}"
        for inner_key, inner in value.items():
            yield from _leaves(inner, inner_key)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, key)
    elif isinstance(value, str):
        yield key, value
