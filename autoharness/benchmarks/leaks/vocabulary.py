"""Vocabulary of plain words: common English with endings, Python's names, and function words of some other languages.

The list is `words.txt`, made by tests/support/make_words.py. A word that is not in it is not a mistake: it only tells
little to a reader who does not know it, and so it may stand for anything.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("words.txt")
_ENDINGS = (
    *(("s", ""), ("es", ""), ("ies", "y"), ("d", ""), ("ed", ""), ("ied", "y"), ("ing", ""), ("ing", "e")),
    *(("er", ""), ("r", ""), ("ers", ""), ("rs", ""), ("or", "e"), ("ors", "e"), ("est", ""), ("st", "")),
    *(
        ("ly", ""),
        ("ly", "le"),
        ("ily", "y"),
        ("y", "e"),
        ("ally", ""),
        ("ness", ""),
        ("iness", "y"),
        ("ment", ""),
        ("ments", ""),
    ),
    *(("ion", "e"), ("ions", "e"), ("ion", ""), ("ions", ""), ("ation", "e"), ("ations", "e"), ("ation", "")),
    *(
        ("ations", ""),
        ("able", ""),
        ("able", "e"),
        ("ful", ""),
        ("less", ""),
        ("al", ""),
        ("ive", "e"),
        ("ity", "e"),
        ("ity", ""),
        ("ility", "le"),
    ),
)
_BEGINNINGS = ("un", "re", "non", "pre", "sub", "mis", "dis", "in", "over", "out", "up", "down", "multi")
_SHORTEST_STEM = 3
_OF_A_LANGUAGE, _PARTS = "-: ", "+: "

_TOKEN = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[^\W\d_A-Z]+|[A-Z]+")


def words_in(text: str) -> list[str]:
    """The words of prose or code, in lower case: `snake_case` and `camelCase` are two each."""
    return [word.lower() for word in _TOKEN.findall(text)]


@cache
def is_plain(word: str) -> bool:
    """Whether a word in lower case is in the list, or is made by endings and a beginning of a word that is."""
    return any(map(_is_made, [word, *_cut(word)]))


def is_function_word(word: str) -> bool:
    """Whether it joins other words (the, of, is) and says nothing by itself; also in German, French and some more."""
    return word in _function_words()


def is_usual_pair(first: str, second: str) -> bool:
    """Whether one function word commonly follows another, as in "of the"; outside English any may."""
    if any(first in words and second in words for words in _elsewhere()):
        return True
    (parts,) = _groups(_PARTS)
    if first in parts or second in parts:  # "don t", "customer s own"; not "s t"
        return (first in parts) != (second in parts) or second == "t" != first
    return second in _followers().get(first, ())


def bases(word: str) -> Iterator[str]:
    """Words that it may be made of: cancellations -> cancellation, cancellate, ..., stopped -> stop."""
    for ending, instead in _ENDINGS:
        stem = word.removesuffix(ending)
        if stem != word and len(stem) >= _SHORTEST_STEM:
            yield stem + instead
            if len(stem) > _SHORTEST_STEM and stem[-1] == stem[-2]:
                yield stem[:-1]


def _cut(word: str) -> Iterator[str]:
    cut = (word.removeprefix(some) for some in _BEGINNINGS if word.startswith(some))
    return (rest for rest in cut if len(rest) > _SHORTEST_STEM)


def _is_made(word: str) -> bool:
    """Whether at most two endings make it of a known word: policies -> policy -> police."""
    if word in _known():
        return True
    return any(base in _known() or not _known().isdisjoint(bases(base)) for base in bases(word))


@cache
def _lines() -> tuple[str, ...]:
    return tuple(line for line in _FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))


@cache
def _known() -> frozenset[str]:
    return _function_words().union(line for line in _lines() if ":" not in line)


@cache
def _function_words() -> frozenset[str]:
    return frozenset(_followers()).union(*_elsewhere(), *_groups(_PARTS))


@cache
def _followers() -> dict[str, frozenset[str]]:
    """By English function word: the function words that commonly follow it."""
    split = (line.partition(": ") for line in _lines() if re.match("[a-z]+: ", line))
    return {word: frozenset(after.split()) for word, _, after in split}


def _elsewhere() -> list[frozenset[str]]:
    """The function words of each other language."""
    return _groups(_OF_A_LANGUAGE)


@cache
def _groups(mark: str) -> list[frozenset[str]]:
    return [frozenset(line.removeprefix(mark).split()) for line in _lines() if line.startswith(mark)]
