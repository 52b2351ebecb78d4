"""Finds the benchmark's records (ids, names, addresses, task texts) that a text names.

Found, in any case and with any separators: whole identifiers, also in adjacent pieces ("W237" + "8156"); first and
last name within a few words of each other; eight words in a row of a task's texts. A single name or postcode is too
ordinary to count, but many of them are a list of customers.

Not found: cities, products and their options, prices, task ids that are plain numbers; a scenario in other words, or
cut into runs of seven words.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from autoharness.benchmarks.leaks import literals
from autoharness.benchmarks.leaks.vocabulary import is_plain, words_in

_PHRASE_WORDS = 8
_NAME_WITHIN_WORDS = 6
_MOST_PIECES = 12
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
_POSTCODES = {"zip", "zip_code", "dob", "date_of_birth"}
_MOST_PEOPLE, _MOST_POSTCODES, _MOST_FACTS = 8, 3, 3
_SHORTEST_FACT = 3
"""Digits. Shorter numbers are everywhere."""
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")

Json = dict[str, Any]


@dataclass(frozen=True)
class Secrets:
    """The records that no edit may name; all in lower case."""

    identifiers: dict[str, str]
    """A description by the identifier's letters and digits: {"w2378156": "the order id #W2378156"}."""
    names: frozenset[tuple[str, str]]
    """(first, last) and (last, first)."""
    phrases: frozenset[str]
    """Runs of eight words in a task's texts, without those that all tasks share."""
    postcodes: frozenset[str] = frozenset()
    """Postcodes and dates of birth."""
    given: frozenset[str] = frozenset()
    """The words of the policy and the tools, which every agent is given."""
    facts: frozenset[str] = frozenset()
    """The numbers that tasks want told to the customer, of three digits and more, as tau2 looks for them."""

    @classmethod
    def of(cls, material: Json) -> "Secrets":
        """From {"databases": {...}, "tasks": [...], "policy": str, "tools": [...]}: see `Tau2.material`."""
        leaves = list(dict.fromkeys(_leaves([material["databases"], material["tasks"]])))
        people = [literals.words(text) for key, text in leaves if key == "full_name"]
        names = {pair for one in people if len(one) > 1 for pair in ((one[0], one[-1]), (one[-1], one[0]))}
        given = " ".join([material["policy"], json.dumps(material["tools"], ensure_ascii=False)])
        every = cls(
            _identifiers(leaves),
            frozenset(names),
            frozenset(_phrases(material["tasks"])),
            frozenset("".join(literals.words(text)) for key, text in leaves if key in _POSTCODES),
            frozenset(words_in(given)),
            _facts(material["tasks"]) - frozenset(numbers_in(given)),
        )
        return every._without(literals.words(given))

    def _without(self, given: list[str]) -> "Secrets":
        """The secrets without what the agent is given anyway."""
        known = {match.what for match in _records_in(given, self)}
        names = {(given[match.start], given[match.stop - 1]) for match in _names_in(given, self)}
        return replace(
            self,
            identifiers={key: what for key, what in self.identifiers.items() if what not in known},
            names=self.names - names,
            phrases=self.phrases - set(_runs(given)),
            postcodes=self.postcodes - set(given),
        )

    @classmethod
    def from_json(cls, value: Json) -> "Secrets":
        names = frozenset((first, last) for first, last in value["names"])
        sets = {key: frozenset(value[key]) for key in ("phrases", "postcodes", "given", "facts")}
        return cls(value["identifiers"], names, **sets)

    def to_json(self) -> Json:
        return {name: value if isinstance(value, dict) else list(value) for name, value in vars(self).items()}

    @cached_property
    def people(self) -> frozenset[str]:
        """First and last names that are not ordinary words."""
        return frozenset(name for pair in self.names for name in pair if not is_plain(name))


class Match(NamedTuple):
    """A place in a list of words: words[start:stop]."""

    start: int
    stop: int
    what: str


def matches(words: list[str], secrets: Secrets) -> Iterator[Match]:
    yield from _records_in(words, secrets)
    yield from _names_in(words, secrets)
    for start, run in enumerate(_runs(words)):
        if run in secrets.phrases:
            yield Match(start, start + _PHRASE_WORDS, "words of a task's scenario")


def many(words: Iterable[str], secrets: Secrets) -> str:
    """A description if the words name many customers, each in a way that would not count by itself; otherwise ""."""
    given = set(words)
    people, codes = len(given & secrets.people), len(given & secrets.postcodes)
    if people > _MOST_PEOPLE:
        return f"the names of {people} customers"
    return f"{codes} postcodes or dates of birth of customers" if codes > _MOST_POSTCODES else ""


def told(text: str, secrets: Secrets) -> str:
    """A description if the text names many of the numbers that tasks want told; otherwise ""."""
    named = sorted(set(numbers_in(text)) & secrets.facts)
    return f"{len(named)} of the numbers that tasks want told, such as {named[0]}" if len(named) > _MOST_FACTS else ""


def numbers_in(text: str) -> list[str]:
    return _NUMBER.findall(text.replace(",", "").replace("_", ""))


def _facts(tasks: list[Json]) -> frozenset[str]:
    wanted = [(task.get("evaluation_criteria") or {}).get("communicate_info") or [] for task in tasks]
    found = {number for facts in wanted for fact in facts for number in numbers_in(str(fact))}
    return frozenset(number for number in found if sum(map(str.isdigit, number)) >= _SHORTEST_FACT)


def _records_in(words: list[str], secrets: Secrets) -> Iterator[Match]:
    """The longest identifier that starts at a word; the search continues after it."""
    start = 0
    while start < len(words):
        match = _record_at(words, start, secrets.identifiers)
        if match:
            yield match
        start = match.stop if match else start + 1


def _record_at(words: list[str], start: int, identifiers: dict[str, str]) -> Match | None:
    match, joined = None, ""
    for stop in range(start + 1, min(start + _MOST_PIECES, len(words)) + 1):
        joined += words[stop - 1]
        if joined in identifiers and (stop == start + 1 or _is_rare(joined)):
            match = Match(start, stop, identifiers[joined])
    if match is None:  # a long number tells by itself, whatever letters it touches
        inside = [number for number in _LONG_NUMBER.findall(words[start]) if number in identifiers]
        match = Match(start, start + 1, identifiers[inside[0]]) if inside else None
    return match


def _is_rare(joined: str) -> bool:
    """Whether neighbouring words cannot spell it by chance, as short words or a table of numbers might."""
    return len(joined) >= 10 or not (joined.isdigit() or joined.isalpha())


def _names_in(words: list[str], secrets: Secrets) -> Iterator[Match]:
    """First and last name near each other: {"first_name": "Mia", "last_name": "Li"} names Mia Li."""
    for start, word in enumerate(words):
        for stop, other in enumerate(words[start + 1 : start + 1 + _NAME_WITHIN_WORDS], start + 2):
            if (word, other) in secrets.names:
                yield Match(start, stop, f"the name {word.title()} {other.title()}")


def _identifiers(leaves: list[tuple[str, str]]) -> dict[str, str]:
    """Descriptions of records, by their letters and digits; a long number in one also counts by itself."""
    records = {
        "".join(literals.words(text)): f"the {_kind(key)} {text}"
        for key, text in reversed(leaves)  # the first mention, in the database, names it best
        if _names_record(key, text)
    }
    numbers = {number: f"the number {number} of a record" for key in records for number in _LONG_NUMBER.findall(key)}
    return numbers | records


def _kind(key: str) -> str:
    """The kind of the values under this key; empty if they name no record."""
    return _KINDS.get(key) or (key.removesuffix("s").replace("_", " ") if _ID_KEY.fullmatch(key) else "")


def _names_record(key: str, text: str) -> bool:
    """Whether it names one record and is not an ordinary word or number: not task id 12, nor user_1."""
    letters_and_digits = "".join(literals.words(text))
    digits = sum(map(str.isdigit, letters_and_digits))
    if not _kind(key):
        return False
    if key in ("email", "full_name") or _SHORT_CODE.fullmatch(text) or len(letters_and_digits) >= _LONG_ID_CHARS:
        return True
    return digits >= (7 if letters_and_digits.isdigit() else 3) and len(letters_and_digits) >= 5


def _phrases(tasks: list[Json]) -> Iterator[str]:
    """Runs of words in tasks, without those that every task has: those identify none, and a prompt may have them."""
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
