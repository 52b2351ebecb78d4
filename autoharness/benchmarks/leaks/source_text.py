"""Checks that a person, a diff, this package's scans and Python all read the same text in a source file.

Python obeys a coding cookie, takes `\\r` as the end of a line, ignores a form feed, and takes letters of other
alphabets for those that they look like; a browser turns text around at an invisible character; an editor shows none
of this. So an agent file must be UTF-8 without such characters, and its code ASCII. Texts and comments may be in any
language.

It does not judge what can be read in plain sight.
"""

import ast
import re
import unicodedata
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from autoharness.benchmarks.leaks import literals

_COOKIE = re.compile(r"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.ASCII)  # as PEP 263 has it
_COOKIE_LINES = 2
_UTF_8 = {"utf-8", "utf8", "utf_8"}
_EMOJI_STYLE, _EMOJI_JOINER, _KEYCAP = "\ufe0f", "\u200d", "\u20e3"
_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc\U0001d159")
"""Letters and symbols that are invisible."""
_NOT_CODE = "?"
"""A character that is in no Python code, but may be in any text or comment."""


class Odd(NamedTuple):
    line: int
    what: str
    """What the line has, as a verb and its object, and how to write it instead."""


def parsed(text: str) -> ast.Module:
    """The syntax tree as Python parses it. Raises SyntaxError, ValueError, RecursionError or MemoryError."""
    with warnings.catch_warnings(action="ignore"):  # of strange escapes
        return ast.parse(text)


def oddities(text: str) -> Iterator[Odd]:
    """The places that not everybody reads the same, from the first line on."""
    lines = literals.lines(text)
    yield from _cookies(lines)
    yield from _line_ends(text)
    for number, line in enumerate(lines, 1):
        yield from (Odd(number, what) for what in dict.fromkeys(_characters(line)))
    if not text.isascii():
        yield from _code_in_other_letters(text)


def _cookies(lines: list[str]) -> Iterator[Odd]:
    for number, line in enumerate(lines[:_COOKIE_LINES], 1):
        cookie = _COOKIE.match(line.removeprefix("\ufeff"))
        if cookie and cookie[1].lower() not in _UTF_8:
            yield Odd(number, f"says that the file is {cookie[1]}: leave that out, agent files are UTF-8")


def _line_ends(text: str) -> Iterator[Odd]:
    """Finds lines that do not end in \\n, unless all of them end in \\r\\n."""
    if text.count("\r") != text.count("\r\n") or ("\r\n" in text and text.count("\n") != text.count("\r\n")):
        before = text[: text.index("\r")]
        yield Odd(before.count("\n") + 1, "has a carriage return that a diff does not show: end every line in \\n")


def _characters(line: str) -> Iterator[str]:
    for place, char in enumerate(line):
        if (char < " " and char != "\t") or char >= "\x7f":
            what = _wrong_with(char, line[place - 1 : place], line[place + 1 : place + 2])
            if what:
                yield f"has {what} U+{ord(char):04X} ({unicodedata.name(char, 'no name')}): write plain text"


def _wrong_with(char: str, before: str, after: str) -> str:
    """What is wrong with a character outside of printable ASCII; "" if nothing is."""
    kind = unicodedata.category(char)
    if char == _EMOJI_STYLE and (_is_symbol(before) or after == _KEYCAP):
        return ""
    if char == _EMOJI_JOINER and _is_symbol(before) and _is_symbol(after):
        return ""
    if kind == "Cc":
        return "the control character"
    if kind in ("Cf", "Zl", "Zp") or char in _BLANK_LETTERS or "VARIATION SELECTOR" in unicodedata.name(char, ""):
        return "the invisible character"
    if kind in ("Mn", "Me") and before.isascii() and char != _KEYCAP:  # both can be written as one letter
        return "the loose mark"
    if kind == "Zs":
        return "the unusual space"
    return "the unassigned character" if kind in ("Cn", "Co", "Cs") else ""


def _is_symbol(char: str) -> bool:
    """Whether it is part of an emoji."""
    return bool(char) and (char == _EMOJI_STYLE or unicodedata.category(char) in ("So", "Sk"))


def _code_in_other_letters(text: str) -> Iterator[Odd]:
    """If every character beyond ASCII is in a text or a comment, replacing it changes no code."""
    try:
        parsed(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # its parser says so
    try:
        parsed(re.sub(r"[^\x00-\x7f]", _NOT_CODE, text))
    except SyntaxError as error:
        others = [number for number, line in enumerate(literals.lines(text), 1) if not line.isascii()]
        line = error.lineno if error.lineno in others else others[0]  # Python counts from 1 inside of an f-string
        yield Odd(line, "has letters in its code that look like others: write names in a to z")
    except (ValueError, RecursionError, MemoryError):
        return
