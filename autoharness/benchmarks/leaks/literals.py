"""The words of a Python file, and the values of its literals. Nothing is executed.

Sums of literals, f-strings and collections are joined in place, and all of a file's constants one after the other; no
variable is followed. `decoding` says what a value may stand for.
"""

import ast
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from autoharness.benchmarks.leaks.decoding import Decoder

_SUMS = (ast.BinOp, ast.JoinedStr, ast.FormattedValue)
_COLLECTIONS = (ast.List, ast.Tuple, ast.Set, ast.Dict)
_FEWEST_NUMBERS = 3
_MOST_PRINTED = 10**30  # Python does not print very long ones


class Said(NamedTuple):
    """A text, and where in the file it comes from."""

    first_line: int
    last_line: int
    text: str


def words(text: str) -> list[str]:
    """Runs of letters and digits, in lower case; other forms of a letter or digit are normalised."""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return re.findall("[a-z0-9]+", plain.casefold())


def lines(source: str) -> list[str]:
    """The lines as Python counts them, unlike `str.splitlines`."""
    return re.split("\r\n|\r|\n", source)


def added_lines(before: str, after: str) -> dict[int, str]:
    """The lines of `after`, by number, that `before` lacks, or has less often: a line that only moved is not new."""
    left, found = Counter(line.strip() for line in lines(before)), {}
    for number, line in enumerate(lines(after), 1):
        left[line.strip()] -= 1
        if left[line.strip()] < 0:
            found[number] = line
    return found


def texts(tree: ast.Module, decoder: Decoder) -> Iterator[Said]:
    """Every literal, as it is and decoded, as far as the decoder goes."""
    inside = set[ast.AST]()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Constant, *_SUMS, *_COLLECTIONS)) and node not in inside:
            for text in _readings(node, inside, decoder):
                yield Said(node.lineno, node.end_lineno or node.lineno, text)


def constants(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, text) of each literal by itself, in the order of the file."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    found.sort(key=lambda node: (node.lineno, node.col_offset))
    return ((node.lineno, text) for node in found if (text := _as_text(node.value)))


def _readings(node: ast.AST, inside: set[ast.AST], decoder: Decoder) -> Iterator[str]:
    pieces = list(_pieces(node, inside))
    if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
        yield from decoder.readings(node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int) and abs(node.value) >= _MOST_PRINTED:
        yield from decoder.readings_of_numbers([abs(node.value)])
    else:
        yield from decoder.readings("".join(map(_as_text, pieces)))
    numbers = [piece for piece in pieces if isinstance(piece, int) and not isinstance(piece, bool)]
    if isinstance(node, _COLLECTIONS) and len(numbers) >= _FEWEST_NUMBERS:
        yield from decoder.readings_of_numbers(numbers)
    if isinstance(node, _COLLECTIONS) and any(isinstance(piece, bytes) for piece in pieces):
        yield from decoder.readings(b"".join(piece for piece in pieces if isinstance(piece, bytes)))


def _pieces(node: ast.AST, inside: set[ast.AST]) -> Iterator[object]:
    """The values that a literal, sum, f-string or collection joins, in order.

    Sums that are part of one, and collections in collections, are added to `inside`."""
    parts = _COLLECTIONS if isinstance(node, _COLLECTIONS) else _SUMS
    stack = _children(node) or [node]
    while stack:
        one = stack.pop()
        if isinstance(one, ast.Constant):
            yield one.value
        elif isinstance(one, (*parts, *_SUMS)):
            inside.update([one] if isinstance(one, _SUMS) else [])
            stack += _children(one)


def _children(node: ast.AST) -> list[ast.AST]:
    return list(ast.iter_child_nodes(node))[::-1]  # the last one is taken first


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="ignore")
    if isinstance(value, int):
        return str(value) if abs(value) < _MOST_PRINTED else ""
    return value if isinstance(value, str) else ""
