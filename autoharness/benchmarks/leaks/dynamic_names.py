"""Dynamic names: which texts a program passes as a name to `getattr` and the like, if it does not write them there.

A variable, a field or an element of a list may be everything that the file assigns to it anywhere. A name that is
computed from constants alone, or from the names of everything that an object has, could be written directly; a name
from a parameter or a message may be any.
"""

import ast
import builtins
from collections import defaultdict
from collections.abc import Iterator

_MOST_STEPS = 3
_COLLECTIONS = (ast.List, ast.Tuple, ast.Set)
_OWN = frozenset(("self", "cls"))
_BUILTINS = frozenset(dir(builtins))


class TextNames:
    """The texts of one program that may be names."""

    def __init__(self, nodes: list[ast.AST]) -> None:
        self._values: dict[str, list[ast.expr]] = defaultdict(list)
        self._elements_of: dict[str, list[ast.expr]] = defaultdict(list)
        for node in nodes:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    self._values[_identifier(target)].append(node.value)
            elif isinstance(node, ast.AnnAssign | ast.NamedExpr | ast.AugAssign) and node.value:
                self._values[_identifier(node.target)].append(node.value)
            elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
                self._elements_of[_identifier(node.target)].append(node.iter)

    def of(self, name: ast.expr) -> Iterator[tuple[ast.expr, bool]]:
        """(expression, whether it is the argument itself) of each text that a name may be, as far as it is known."""
        for found in self._texts(name, _MOST_STEPS):
            yield found, found is name

    def _texts(self, node: ast.expr, steps: int) -> Iterator[ast.expr]:
        if isinstance(node, ast.IfExp):
            alternatives = [node.body, node.orelse]
        elif isinstance(node, ast.BoolOp):
            alternatives = node.values
        elif isinstance(node, ast.NamedExpr):
            alternatives = [node.value]
        elif isinstance(node, ast.Subscript) and not is_worked_out(node):
            yield from self._elements(node.value, steps)
            return
        elif isinstance(node, ast.Name | ast.Attribute) and steps:
            alternatives = self._values.get(_identifier(node), [])
            for collection in self._elements_of.get(_identifier(node), []):
                yield from self._elements(collection, steps - 1)
        else:
            yield node
            return
        for one in alternatives:
            yield from self._texts(one, steps - 1) if steps else ()

    def _elements(self, node: ast.expr, steps: int) -> Iterator[ast.expr]:
        if isinstance(node, _COLLECTIONS):
            for one in node.elts:
                yield from self._texts(one, steps)
        elif isinstance(node, ast.Dict):
            for one in [*filter(None, node.keys), *node.values]:
                yield from self._texts(one, steps)
        elif isinstance(node, ast.Name | ast.Attribute) and steps:
            for value in self._values.get(_identifier(node), []):
                yield from self._elements(value, steps - 1)
        elif isinstance(node, ast.Call | ast.ListComp | ast.GeneratorExp):
            yield from [node] if _lists_all(node) else []


def is_worked_out(text: ast.expr) -> bool:
    """Whether it is computed from constants alone, or lists what an object has."""
    if isinstance(text, ast.Constant):
        return False
    nodes = list(ast.walk(text))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return names <= _BUILTINS or _lists_all(text)


def beginning(text: ast.expr) -> str:
    """The text that a sum of texts or an f-string begins with."""
    while isinstance(text, ast.BinOp | ast.JoinedStr):
        text = text.left if isinstance(text, ast.BinOp) else (text.values or [ast.Constant("")])[0]
    return text.value if isinstance(text, ast.Constant) and isinstance(text.value, str) else ""


def _lists_all(node: ast.AST) -> bool:
    """Whether it has `dir(x)`, unless the object's own code asks."""
    for one in ast.walk(node):
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id == "dir":
            asked = one.args[0] if one.args else None
            if not (isinstance(asked, ast.Name) and asked.id in _OWN):
                return True
    return False


def _identifier(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
