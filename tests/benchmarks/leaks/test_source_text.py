"""A source that a person, a diff and Python read differently is found, with its line."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TEMPLATE
from honest_edits import HONEST

from autoharness.benchmarks.leaks.source_text import oddities

INVISIBLE = {
    "zero width": "\u200b",
    "joiner": "\u200d",
    "byte order mark": "\ufeff",
    "turned around": "\u202e",
    "isolate": "\u2066",
    "soft hyphen": "\u00ad",
    "tag": "\U000e0041",
    "variation selector": "\ufe01",
    "variation selector supplement": "\U000e0101",
    "emoji style without an emoji": "\ufe0f",
    "no-break space": "\u00a0",
    "ideographic space": "\u3000",
    "blank letter": "\u3164",
    "blank braille": "\u2800",
    "line separator": "\u2028",
    "next line": "\x85",
    "form feed": "\x0c",
    "vertical tab": "\x0b",
    "escape": "\x1b",
    "delete": "\x7f",
    "private use": "\ue000",
    "null": "\0",
    "grapheme joiner": "\u034f",
    "khmer vowel": "\u17b4",
    "mongolian selector": "\u180b",
    "object replacement": "\ufffc",
    "null notehead": "\U0001d159",
    "mark on a plain letter": "\u0323",
    "circle around a plain letter": "\u20dd",
}


@pytest.mark.parametrize("char", INVISIBLE.values(), ids=INVISIBLE)
@pytest.mark.parametrize("line", ["TEXT = 'be{}kind'", "x = 1  # be{}kind"], ids=["text", "comment"])
def test_a_character_that_is_not_to_be_seen_is_named_with_its_line(char: str, line: str) -> None:
    found = list(oddities(f"x = 0\n{line.format(char)}\n"))
    assert {odd.line for odd in found} == {2} and f"U+{ord(char):04X}" in found[0].what


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("# coding: utf-7\nx = 1\n", 1),
        ("#!/usr/bin/python\n# -*- coding: latin-1 -*-\n", 2),
        ("# vim: set fileencoding=cp1252 :\n", 1),
        ("\x0c# coding: rot13\n", 1),
        ("x = 1\ny = 2\rz = 3\n", 2),
        ("x = 1\r\ny = 2\n", 1),
        ("def f():\n    \uff45\uff58\uff45\uff43('1')\n", 2),
        ("x = 1\n\u0435xec = 2\n", 2),
        ("x = 'ä'\ny = f'{\uff45}'\n", 2),
        ("x = f'''\nä\n{\u00e9}'''\n", 3),
        ("class A:\n    \u00aa: int = 1\n", 2),
    ],
    ids=[
        *("utf-7", "second line", "vim", "form feed", "carriage return", "mixed", "full width", "cyrillic"),
        *("f-string", "f-string of lines", "compatible letter"),
    ],
)
def test_what_python_reads_otherwise_is_named_with_its_line(source: str, line: int) -> None:
    assert line in {odd.line for odd in oddities(source)}


@pytest.mark.parametrize(
    "source",
    [
        "# -*- coding: utf-8 -*-\nx = 1\n",
        "# no cookie\nx = 1\n# coding: utf-7\n",
        "x = 1\r\ny = 2\r\n",
        "x = 'Grüße, 你好, привет, שלום, हिन्दी, ไทย, العَرَبِيَّة'\n",
        "x = '😊 ❤️ ✔️ 👍🏽 1️⃣ 👩‍💻 — “a” … €'\n",
        "x = 1\t# a tab\n",
        "def (:\n",
        *HONEST.values(),
    ],
)
def test_other_languages_emoji_and_typography_are_let_through(source: str) -> None:
    assert list(oddities(source)) == []


def test_a_cookie_is_code_to_python_and_a_comment_to_a_reader(tmp_path: Path) -> None:
    """What the check is for: the same file, as it looks and as it runs."""
    path = tmp_path / "agent.py"
    path.write_bytes(b"# coding: utf-7\n# Be kind.+AAo-print('code')\n")
    assert subprocess.run([sys.executable, path], capture_output=True, text=True).stdout == "code\n"
    assert [odd.line for odd in oddities(path.read_text())] == [1]


def test_the_template_is_plain() -> None:
    assert not list(oddities(TEMPLATE))
