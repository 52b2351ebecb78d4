"""The words of a Python file, and the values that its literals have when it runs. Nothing is executed.

Sums of literals, f-strings and lists of texts are put together where they stand; no variable is followed.
"""

import ast
import base64
import re
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import suppress

_BASE64 = re.compile(r"[A-Za-z0-9+/]{8,}")
_SUMS = (ast.BinOp, ast.JoinedStr, ast.FormattedValue)


def words(text: str) -> list[str]:
    """Runs of letters and digits, in lower case; other writings of a letter or digit are that one."""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return re.findall("[a-z0-9]+", plain.casefold())


def lines(source: str) -> list[str]:
    """As Python counts them, which `str.splitlines` does not."""
    return re.split("\r\n|\r|\n", source)


def texts(source: str) -> Iterator[tuple[int, int, str]]:
    """(first line, last line, text) of every literal: as it is, reversed and decoded. Nothing where nothing parses.

    Raises RecursionError or MemoryError where the source is nested too deep.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of strange escapes
            tree = ast.parse(source.encode(errors="replace"))  # bytes: a coding cookie counts, as on import
    except (SyntaxError, ValueError):  # no agent: it cannot be imported
        return
    inside: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.BinOp | ast.JoinedStr | ast.List | ast.Tuple) and node not in inside:
            for text in _readings("".join(_pieces(node, inside))):
                yield node.lineno, node.end_lineno or node.lineno, text


def _pieces(node: ast.AST, inside: set[ast.AST]) -> Iterator[str]:
    """The texts that a literal, sum, f-string or list puts together; `inside` takes the sums that are part of one."""
    parts = () if isinstance(node, ast.List | ast.Tuple) else _SUMS
    stack = _children(node) or [node]
    while stack:
        one = stack.pop()
        if isinstance(one, ast.Constant):
            yield _as_text(one.value)
        elif isinstance(one, parts):
            inside.add(one)
            stack += _children(one)


def _children(node: ast.AST) -> list[ast.AST]:
    return list(ast.iter_child_nodes(node))[::-1]  # the last one is taken first


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="ignore")
    if isinstance(value, int):
        return str(value) if abs(value) < 10**30 else ""  # Python does not print very long ones
    return value if isinstance(value, str) else ""


def _readings(text: str) -> Iterator[str]:
    yield text
    yield text[::-1]
    packed = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    if _BASE64.fullmatch(packed):
        whole = packed[: len(packed) - (len(packed) % 4 == 1)]
        yield base64.b64decode(whole + "=" * (-len(whole) % 4)).decode(errors="ignore")
    with suppress(ValueError):
        yield bytes.fromhex(text).decode(errors="ignore")
