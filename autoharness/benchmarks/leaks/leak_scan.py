"""The leak scan: refuses edits of agent/agent.py that carry benchmark records or hide what they do, line by line.

It compares texts, before any trial is paid for. Only what the edit adds counts, and nothing that the agent is given
anyway (policy, tool schemas). There are four checks, each in a module that says what it does not find:

    source_text     does Python read what a person and a diff read?
    records         does it name records of the benchmark, in code, texts or comments, as they are or encoded?
    forbidden_uses  does it run, find or decode what nobody sees?
    opaque_data     does it carry more than a reader can follow?

No check shows that an agent is honest. Answers told in plain English, within the limits of `opaque_data`, are not
found.
"""

import ast
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass

from autoharness.benchmarks.leaks import literals
from autoharness.benchmarks.leaks.decoding import Decoder
from autoharness.benchmarks.leaks.forbidden_uses import NOBODYS, uses
from autoharness.benchmarks.leaks.opaque_data import opaque
from autoharness.benchmarks.leaks.records import Secrets, many, matches, numbers_in, told
from autoharness.benchmarks.leaks.source_text import oddities, parsed

_LONGEST_SOURCE_CHARS = 500_000
_LONGEST_LINE_CHARS = 120
_MOST_LEAKS = 100
_SMALLER = "leave it out, or make smaller edits, one after the other"
_FEWER = "take out what does not help, or begin anew with this file as the baseline, in another vault (docs/gate.md)"

Found = tuple[int, str]
"""(line, what it does): (12, "carries the order id #W2378156")."""


@dataclass(frozen=True)
class Leak:
    line: int
    """In the edited file, from 1."""
    text: str
    """The line, cut to a readable length."""
    what: str
    """What it does, as a verb and its object: "carries the user id mia_li_3668"."""


def scan(before: str, after: str, secrets: Secrets, baseline: str | None = None) -> list[Leak]:
    """Why the edit from `before` to `after` is refused: at most 100 reasons, by line. Never raises.

    `baseline`: the file that all edits together started from. A file that cannot be scanned is itself a reason.
    """
    lines = literals.lines(after)
    if after == before:
        return []
    if len(after) > _LONGEST_SOURCE_CHARS:
        found = {(1, f"begins a file of over {_LONGEST_SOURCE_CHARS} characters, too many to look through")}
    else:
        try:
            found = _found(before, after, secrets, before if baseline is None else baseline)
        except (RecursionError, MemoryError):
            found = {(1, "begins a file that is nested too deep to look through: write it in smaller pieces")}
        except Exception as error:  # a bug of ours: an edit that provokes one must not pass by it
            found = {(1, f"begins a file that the scan cannot look through: {error!r:.200}")}
    return [_leak(lines, number, what) for number, what in sorted(found)[:_MOST_LEAKS]]


def _leak(lines: list[str], number: int, what: str) -> Leak:
    number = min(max(number, 1), len(lines))
    text = lines[number - 1].strip()[:_LONGEST_LINE_CHARS]
    return Leak(number, "".join(char if char.isprintable() else " " for char in text), what)


def _found(before: str, after: str, secrets: Secrets, baseline: str) -> set[Found]:
    old, new = _Source.of(before), _Source.of(after)
    found = {*_odd(old, new), *_records(old, new, secrets), *_hiding(old, new)}
    found |= _told(old, new, secrets)
    found |= {(line, f"is no Python: {new.problem}") for line in [new.problem_line] if new.problem}
    of_all = opaque(baseline, after, secrets.given, all_edits=True)
    found |= {(line, f"carries {what}: {_SMALLER}") for line, what in opaque(before, after, secrets.given)}
    return found | {(line, f"carries, with earlier edits, {what}: {_FEWER}") for line, what in of_all}


@dataclass(frozen=True)
class _Source:
    text: str
    tree: ast.Module
    """Empty if it is not Python."""
    problem: str
    """Why it is not."""
    problem_line: int

    @classmethod
    def of(cls, text: str) -> "_Source":
        """Raises RecursionError or MemoryError if it is nested too deep."""
        try:
            return cls(text, parsed(text), "", 0)
        except SyntaxError as error:
            return cls(text, ast.Module([], []), f"{error.msg}"[:_LONGEST_LINE_CHARS], error.lineno or 1)
        except ValueError as error:
            return cls(text, ast.Module([], []), f"{error}"[:_LONGEST_LINE_CHARS], 1)


def _told(old: _Source, new: _Source, secrets: Secrets) -> set[Found]:
    """Numbers that tasks want told, in all added lines together."""
    known = set(literals.lines(old.text))
    added = [(number, line) for number, line in enumerate(literals.lines(new.text), 1) if line not in known]
    what = told("\n".join(line for _, line in added), secrets)
    return {(next(number for number, line in added if numbers_in(line)), f"carries {what}")} if what else set()


def _odd(old: _Source, new: _Source) -> Iterator[Found]:
    """Places that a reader and Python read differently, unless the same line was there before."""
    lines, known = literals.lines(new.text), set(literals.lines(old.text))
    had = {what for _, what in oddities(old.text)}
    yield from (one for one in oddities(new.text) if one.what not in had or lines[one.line - 1] not in known)


def _hiding(old: _Source, new: _Source) -> Iterator[Found]:
    """Uses that keep a reader from seeing what the file does, unless the version before has the same."""
    known = {use.what for use in uses(old.tree)}
    hidden = (use for use in uses(new.tree) if use.kind in NOBODYS and use.what not in known)
    return ((use.line, f"{use.what}: {use.instead}") for use in hidden)


def _records(old: _Source, new: _Source, secrets: Secrets) -> Iterator[Found]:
    """Records that are named in an added line, or nowhere in `old`, such as when a deletion joins two halves."""
    decoder = Decoder()
    in_lines, in_literals = list(_in_lines(new, secrets)), list(_in_literals(new, secrets, decoder))
    if decoder.is_spent:
        yield 1, "begins a file with more encoded text than can be looked through"
    added, had = literals.added_lines(old.text, new.text).keys(), set[str]()
    if in_lines or in_literals:
        had = {words for _, words, _ in [*_in_lines(old, secrets), *_in_literals(old, secrets, Decoder())]}
    found = {
        (min(added & set(numbers), default=numbers[0]), f"carries {what}")
        for numbers, words, what in in_lines
        if words not in had or not added.isdisjoint(numbers)
    }
    shown = {what for _, what in found}
    for numbers, words, what in in_literals:
        if words not in had and f"carries {what}" not in shown:
            found.add((next(filter(added.__contains__, numbers), numbers[0]), f"carries {what}"))
    yield from found
    yield from _customers(old, new, secrets, added)


def _in_lines(source: _Source, secrets: Secrets) -> Iterator[tuple[Sequence[int], str, str]]:
    """(lines, words, what) in the words of the file, in code or text, and across line breaks."""
    yield from _placed(enumerate(literals.lines(source.text), 1), secrets)


def _in_literals(source: _Source, secrets: Secrets, decoder: Decoder) -> Iterator[tuple[Sequence[int], str, str]]:
    """(lines, words, what) in the values of its literals."""
    yield from _placed(literals.constants(source.tree), secrets)
    for said in literals.texts(source.tree, decoder):
        words = literals.words(said.text)
        for start, stop, what in matches(words, secrets):
            yield range(said.first_line, said.last_line + 1), " ".join(words[start:stop]), what


def _placed(texts: Iterable[tuple[int, str]], secrets: Secrets) -> Iterator[tuple[Sequence[int], str, str]]:
    placed = [(word, number) for number, text in texts for word in literals.words(text)]
    words = [word for word, _ in placed]
    for start, stop, what in matches(words, secrets):
        yield [number for _, number in placed[start:stop]], " ".join(words[start:stop]), what


def _customers(old: _Source, new: _Source, secrets: Secrets, added: Set[int]) -> Iterator[Found]:
    known = set(literals.words(old.text))
    lines = {number: set(literals.words(line)) - known for number, line in enumerate(literals.lines(new.text), 1)}
    if what := many({word for number in added for word in lines[number]}, secrets):
        named = secrets.people | secrets.postcodes
        yield max(added, key=lambda number: len(lines[number] & named)), f"carries {what}"
