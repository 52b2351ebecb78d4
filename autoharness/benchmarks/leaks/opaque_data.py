"""Limits opaque data: how much an edit may carry that no reader can follow, since it may hide answers.

Everything that a file carries is in its text, so it is measured there, in whatever form. Each measure counts one kind
of thing in the lines that an edit adds, and has a limit. Honest edits stay far below it (`perf/leak_scan.py` measures
them); a table of a benchmark's answers is above one of the limits, or is written out in plain sentences, which this
cannot tell from a prompt. What the version before had does not count.

It knows the words of English. If a benchmark's policy is in another language, the measures of words do not apply.
"""

import ast
import keyword
import lzma
import re
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice, pairwise

from autoharness.benchmarks.leaks.additions import Added
from autoharness.benchmarks.leaks.vocabulary import is_function_word, is_usual_pair, words_in

MOST = {
    "bytes": 2_000,
    "characters": 10_000,
    "lines": 400,
    "words": 700,
    "odd characters": 250,
    "loose words": 400,
    "names used once": 100,
    "odd spaces": 60,
    "values": 80,
}
"""What one edit may add. All edits since the baseline may add `OF_ALL_EDITS` times as much."""
OF_ALL_EDITS = 4
MOST_VALUES, MOST_NUMBERS = 60, 24
"""In one list, dictionary, call, ..."""
MOST_STATEMENTS, MOST_SENTENCES = 24, 12
"""That have one shape: a table has rows, in whatever form."""
MOST_IN_ONE_WORD = 24
"""Odd characters between two white spaces."""
MOST_UNUSUAL_PAIRS, PAIRS_LOOKED_AT = 13, 20

LONGEST_LOOKED_INTO = 200_000
"""Characters. A longer file is above the limits of its edits, or was written by a person."""

_WORDS = {
    "bytes": "bytes of news even when compressed",
    "characters": "new characters",
    "lines": "new lines",
    "words": "words in texts and comments",
    "odd characters": "characters of numbers, signs and words that are not plain English or the benchmark's own",
    "loose words": "words that make no sentence",
    "names used once": "words in names that are used once",
    "odd spaces": "odd spaces: at ends of lines, several in a row, or tabs",
    "values": "values in lists, dictionaries and calls of eight or more, or nested deeply",
}
_NUMBER, _NAME = re.compile(r"\d+"), re.compile(r"\w+")
_SIGNS = re.compile(r"[!-/:-@\[-^`{-~]{3,}")
_SAME_SIGNS = re.compile(r"([^\x00-\x7f])\1+")
_PIECE = re.compile(r"(?<=[.!?:;,])\s+|\\n|\n")
_SHORTEST_SENTENCE, _LEAST_FUNCTION_WORDS, _MOST_FUNCTION_WORDS = 6, 0.15, 0.85
_COMMON_SIGNS = frozenset("–—‘’“”„«»…•·→←≥≤≠×°€£§©®™✓✔✗✘⚠✅❌")  # noqa: RUF001
_NO_SENTENCE = 2
_RARE_SIGN, _IDEOGRAPH = 4, 4
"""How much a sign or letter counts if there are thousands of its kind."""
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 20}]
_COLLECTIONS = (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Call, ast.Compare, ast.BoolOp, ast.MatchOr, ast.Match)
_LINKS = (ast.BinOp, ast.Attribute, ast.Subscript, ast.Call)
_FEWEST_VALUES = 8
_STATEMENTS = (ast.stmt, ast.match_case)
_LONGEST_SHAPE_NODES = 60
_OPERATORS = (ast.operator, ast.unaryop, ast.cmpop, ast.boolop)
_DEEPEST = 10
"""Levels of one expression."""
_FEWEST_WORDS = 4

Amounts = Counter[int]
"""Amounts by line of the edited file."""


def opaque(before: str, after: str, given: frozenset[str], all_edits: bool = False) -> Iterator[tuple[int, str]]:
    """(line, what it carries) if an edit is above a limit; with `all_edits`, if all edits together are.

    Raises RecursionError or MemoryError if the file is nested too deep.
    """
    added = Added(before, after, given)
    for name, amounts in measures(added).items():
        most = MOST[name] * (OF_ALL_EDITS if all_edits else 1)
        if amounts.total() > most:
            yield amounts.most_common(1)[0][0], f"{amounts.total()} {_WORDS[name]}, of which {most} are the most"
    if not all_edits and len(added.after) <= LONGEST_LOOKED_INTO:
        for check in (_long_words, _no_sentences, _long_collections, _like_statements, _like_sentences):
            yield from check(added)


def measures(added: Added) -> dict[str, Amounts]:
    """The amount of each kind in each new line."""
    lines = {number: len(line.strip()) for number, line in added.lines.items()}
    longest = max(lines, key=lambda number: lines[number], default=1)
    return {
        "bytes": Counter({longest: _news(added)}),
        "characters": Counter(lines),
        "lines": Counter(sorted(lines, key=lambda number: not lines[number])),
        "words": Counter(number for number, words in _pieces(added) for _ in words),
        "odd characters": _odd_characters(added),
        "loose words": _loose_words(added),
        "names used once": _names_used_once(added),
        "odd spaces": Counter({number: _odd_spaces(line) for number, line in added.lines.items()}),
        "values": _values(added),
    }


def _news(added: Added) -> int:
    """How much longer the compressed file becomes by the edit: that limits what the edit can tell, in any form."""
    return max(0, _compressed(added.before + added.after) - _compressed(added.before))


def _compressed(text: str) -> int:
    data = text.encode(errors="surrogatepass")
    return len(lzma.compress(data, format=lzma.FORMAT_RAW, filters=_FILTERS))


def _odd_characters(added: Added) -> Amounts:
    """Letters of words that are not plain, digits, signs beyond ASCII, and rows of other signs in a text.

    A name in the code counts once: code repeats its names.
    """
    found, names = Amounts(), set[str]()
    for number, line in added.lines.items():
        text = added.texts.get(number, "")
        in_text = [word for word in words_in(text) if added.is_odd(word)]
        in_code = {word for word in words_in(line) if added.is_odd(word)} - names - set(in_text)
        signs = _odd_signs(line) + sum(map(len, _rows_of_signs(text)))
        found[number] = _weight("".join([*in_text, *in_code])) + signs
        names |= in_code
    return found


def _weight(letters: str) -> int:
    return sum(1 if letter < "\u2e80" else _IDEOGRAPH for letter in letters)


def _odd_signs(text: str) -> int:
    """Digits, and signs beyond ASCII; a row of the same sign is a drawn line, and counts once."""
    signs = (char for char in _SAME_SIGNS.sub(r"\1", text) if char > "\x7f" and not char.isalpha())
    return sum(map(len, _NUMBER.findall(text))) + sum(1 if char in _COMMON_SIGNS else _RARE_SIGN for char in signs)


def _rows_of_signs(text: str) -> Iterator[str]:
    return (row for row in _SIGNS.findall(text) if len(set(row)) > 2)


def _pieces(added: Added) -> Iterator[tuple[int, list[str]]]:
    """(line, words) of each sentence or line of a text."""
    for number, text in added.texts.items():
        for piece in _PIECE.split(text):
            if words := words_in(piece):
                yield number, words


def _loose_words(added: Added) -> Amounts:
    """Words in pieces of text that are no sentence: too short, or with too few or too many function words."""
    found = Amounts()
    for number, words in _pieces(added) if added.is_english else ():
        joined = sum(map(is_function_word, words)) / len(words)
        if len(words) < _SHORTEST_SENTENCE:
            found[number] += len(words)
        elif not _LEAST_FUNCTION_WORDS <= joined <= _MOST_FUNCTION_WORDS:
            found[number] += len(words) * _NO_SENTENCE
    return found


def _names_used_once(added: Added) -> Amounts:
    names = [token for token in added.tokens if token.type == tokenize.NAME and not keyword.iskeyword(token.string)]
    count, found = Counter(token.string for token in names), Amounts()
    for token in names:
        if count[token.string] == 1 and token.start[0] in added.lines:
            found[token.start[0]] += len(words_in(token.string))
    return found


def _odd_spaces(line: str) -> int:
    return (line != line.rstrip()) + line.count("\t") + len(re.findall(r"\S {2,}(?=[^\s#])", line))


def _long_words(added: Added) -> Iterator[tuple[int, str]]:
    """Texts between white spaces; in code, which operators divide as well, one name or number."""
    for number, line in added.lines.items():
        for word in [*added.texts.get(number, "").split(), *_NAME.findall(line)]:
            odd = _weight("".join(filter(added.is_odd, set(words_in(word))))) + _odd_signs(word)
            if odd > MOST_IN_ONE_WORD:
                yield number, f"{odd} characters in a row that are not plain words"
                break


def _no_sentences(added: Added) -> Iterator[tuple[int, str]]:
    """Function words in an order that no English sentence has: "the of", "is and"."""
    pieces = {tuple(words): number for number, words in _pieces(added)}  # repeated pieces count once
    placed = [
        (pair, number)
        for words, number in pieces.items()
        for pair in pairwise(words)
        if all(map(is_function_word, pair))
    ]
    for start in range(max(1, len(placed) - PAIRS_LOOKED_AT + 1)):
        window = [number for pair, number in placed[start : start + PAIRS_LOOKED_AT] if not is_usual_pair(*pair)]
        if len(window) > MOST_UNUSUAL_PAIRS:
            yield window[0], "words in an order that makes no sentence"
            return


def _collections(added: Added) -> Iterator[tuple[ast.AST, list[ast.AST]]]:
    """Each list, dictionary, call, sum, chain of attributes, ..., with its new values."""
    inside = set[ast.AST]()
    for node in ast.walk(added.tree):
        if isinstance(node, _COLLECTIONS):
            values = node.keys if isinstance(node, ast.Dict) else list(ast.iter_child_nodes(node))
            yield node, [one for one in values if one and _line(one) in added.lines]
        if isinstance(node, _LINKS) and node not in inside:
            chain = list(_chain(node))
            inside.update(chain)
            yield node, [one for one in chain if _line(one) in added.lines]


def _chain(node: ast.AST | None) -> Iterator[ast.AST]:
    """`a + b + c`, `a.b.c` and `f(a)(b)` are each nested to the left."""
    while node:
        yield node
        node = getattr(node, "left", None) or getattr(node, "value", None) or getattr(node, "func", None)
        node = node if isinstance(node, _LINKS) else None


def _values(added: Added) -> Amounts:
    found = Amounts()
    for _, values in _collections(added):
        found.update(_line(one) for one in values if len(values) >= _FEWEST_VALUES)
    found.update(_line(one) for one in _deep(added.tree) if _line(one) in added.lines)
    return found


def _deep(tree: ast.Module) -> Iterator[ast.expr]:
    """Expressions that are nested deeper than a reader follows, as in `f(g(g(f(...))))` or `-~~-x`."""
    stack: list[tuple[ast.AST, int]] = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        for child in ast.iter_child_nodes(node):
            inner = depth + 1 if isinstance(child, ast.expr) else depth * (not isinstance(child, ast.stmt))
            stack.append((child, inner))
            if inner > _DEEPEST and isinstance(child, ast.expr):
                yield child


def _long_collections(added: Added) -> Iterator[tuple[int, str]]:
    for node, values in _collections(added):
        numbers = [one for one in ast.walk(node) if _is_number(one) and _line(one) in added.lines]
        for found, what, most in ((values, "values", MOST_VALUES), (numbers, "numbers", MOST_NUMBERS)):
            if len(found) > most:
                yield _line(found[0]), f"{len(found)} {what} in one collection, of which {most} are the most"


def _like_statements(added: Added) -> Iterator[tuple[int, str]]:
    """Statements that differ only in names, constants and operators."""
    shapes: dict[str, list[int]] = defaultdict(list)
    for node in ast.walk(added.tree):
        if isinstance(node, _STATEMENTS) and _line(node) in added.lines:
            inside = list(islice(ast.walk(node), _LONGEST_SHAPE_NODES + 1))
            if len(inside) <= _LONGEST_SHAPE_NODES:
                kinds = (type(one).__name__ for one in inside if not isinstance(one, _OPERATORS))
                shapes[" ".join(sorted(kinds))].append(_line(node))
    yield from _too_many(shapes, MOST_STATEMENTS, "statements")


def _like_sentences(added: Added) -> Iterator[tuple[int, str]]:
    """Sentences that have the same function words in the same places."""
    shapes: dict[str, list[int]] = defaultdict(list)
    for number, words in _pieces(added):
        shape = [word if is_function_word(word) else "" for word in words]
        if len(words) >= _FEWEST_WORDS and any(shape):
            shapes[" ".join(shape)].append(number)
    yield from _too_many(shapes, MOST_SENTENCES, "sentences")


def _too_many(shapes: dict[str, list[int]], most: int, what: str) -> Iterator[tuple[int, str]]:
    for lines in shapes.values():
        if len(lines) > most:
            yield lines[0], f"{len(lines)} {what} of one shape, of which {most} are the most"


def _line(node: ast.AST) -> int:
    return getattr(node.pattern if isinstance(node, ast.match_case) else node, "lineno", 0)


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float | complex)
