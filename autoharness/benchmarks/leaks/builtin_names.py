"""Finds where a program reads a builtin by its name, and not a name of its own that is spelled the same.

A function's own names are never the builtin. A module's or a class's names are, until they surely have a value: after
`if False: exec = 1` Python takes the builtin for `exec`.
"""

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

Names = frozenset[str]
_NO_NAMES: Names = frozenset()


@dataclass(frozen=True)
class _Scope:
    """The names that are the program's own, at one place in it."""

    own: Names = _NO_NAMES
    visible: Names = _NO_NAMES
    """Names visible to the functions that are defined here: not those of a class."""
    of_module: Names = _NO_NAMES
    kind: type[ast.AST] = ast.Module

    def having(self, names: Names) -> "_Scope":
        """The scope after the statement that gives these a value."""
        visible = self.visible if self.kind is ast.ClassDef else self.visible | names
        of_module = self.of_module | names if self.kind is ast.Module else self.of_module
        return replace(self, own=self.own | names, visible=visible, of_module=of_module)


def builtin_loads(tree: ast.Module, names: Collection[str]) -> Iterator[ast.Name]:
    """Every place that reads one of these builtins. The program may be nested deeply."""
    deleted, caught = _taken_away(tree)
    wanted = frozenset(names) - deleted  # a deleted name is the builtin again
    stack: list[tuple[ast.AST, _Scope]] = [(tree, _Scope())]
    while stack:
        node, scope = stack.pop()
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load) and node.id in names and node.id not in scope.own:
                yield node
        else:
            stack += _inside(node, scope, wanted, caught)


def _taken_away(tree: ast.Module) -> tuple[Names, Names]:
    """Names that are deleted, and names that an exception handler deletes at its end."""
    nodes = list(ast.walk(tree))
    deleted = frozenset(node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Del))
    return deleted, frozenset(node.name for node in nodes if isinstance(node, ast.ExceptHandler) and node.name)


def _inside(node: ast.AST, scope: _Scope, names: Names, caught: Names) -> Iterator[tuple[ast.AST, _Scope]]:
    """The children, each with the names that it sees."""
    if isinstance(node, _COMPREHENSIONS):
        yield from _of_comprehension(node, scope, names)
        return
    inner = _scope_of_body(node, scope, names)
    for field, value in ast.iter_fields(node):
        children = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, ast.AST)]
        here = inner if field == "body" else scope
        for child in children:
            yield child, here
            if isinstance(child, ast.stmt):
                here = here.having(_surely_bound(child, names) - caught)


def _scope_of_body(node: ast.AST, scope: _Scope, names: Names) -> _Scope:
    if isinstance(node, _FUNCTIONS):
        declared = _declared(node)
        own = (scope.visible - declared) | (scope.of_module & declared) | (_locals(node, names) - declared)
        return replace(scope, own=own, visible=own, kind=ast.FunctionDef)
    if isinstance(node, ast.ClassDef):
        return replace(scope, own=scope.visible - _declared(node), kind=ast.ClassDef)
    return scope.having(_bound_for_body(node, names))


def _bound_for_body(node: ast.AST, names: Names) -> Names:
    """Names that a loop, `with`, handler or case gives a value before its body runs."""
    if isinstance(node, ast.For | ast.AsyncFor):
        return _stores(node.target, names)
    if isinstance(node, ast.With | ast.AsyncWith):
        return _stores_of([one.optional_vars for one in node.items if one.optional_vars], names)
    if isinstance(node, ast.match_case):
        return _stores(node.pattern, names)
    return names & {node.name or ""} if isinstance(node, ast.ExceptHandler) else _NO_NAMES


def _of_comprehension(node: ast.AST, scope: _Scope, names: Names) -> Iterator[tuple[ast.AST, _Scope]]:
    """Its first iterable is read outside of it."""
    first = node.generators[0].iter  # type: ignore[attr-defined]
    own = scope.visible | _stores_of([one.target for one in node.generators], names)  # type: ignore[attr-defined]
    inner = replace(scope, own=own, visible=own, kind=ast.FunctionDef)
    yield first, scope
    for child in ast.iter_child_nodes(node):
        parts = ast.iter_child_nodes(child) if isinstance(child, ast.comprehension) else [child]
        yield from ((one, inner) for one in parts if one is not first)


def _surely_bound(statement: ast.stmt, names: Names) -> Names:
    """Names that have a value after a statement, whatever happened in it."""
    if isinstance(statement, _DEFINITIONS):
        return names & {statement.name}
    if isinstance(statement, ast.Assign):
        return _stores_of(statement.targets, names)
    if isinstance(statement, ast.AnnAssign) and statement.value:
        return _stores(statement.target, names)
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return _stores(statement, names)
    if isinstance(statement, ast.If):
        ways = (statement.body, statement.orelse)
        first, second = (frozenset(name for one in way for name in _surely_bound(one, names)) for way in ways)
        return first & second
    return _NO_NAMES


def _locals(node: ast.AST, names: Names) -> Names:
    """The names of a function or lambda, which have a value or are an error."""
    arguments = {one.arg for one in ast.walk(node.args) if isinstance(one, ast.arg)}  # type: ignore[attr-defined]
    body = node.body if isinstance(node.body, list) else [node.body]  # type: ignore[attr-defined]
    return (names & arguments) | _stores_of(body, names)


def _declared(node: ast.AST) -> Names:
    """Names declared global or nonlocal: not of this function or class."""
    found = (one for one in _own_nodes(node) if isinstance(one, ast.Global | ast.Nonlocal))
    return frozenset(name for one in found for name in one.names)


def _stores_of(nodes: Collection[ast.AST], names: Names) -> Names:
    return frozenset(name for node in nodes for name in _stores(node, names))


def _stores(node: ast.AST, names: Names) -> Names:
    """Those of these names that are bound in the scope of the node."""
    found = set[str]()
    for one in [node, *_own_nodes(node)] if not isinstance(node, _DEFINITIONS) else [node]:
        if isinstance(one, _DEFINITIONS):
            found.add(one.name)
        elif isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
            found.add(one.id)
        elif isinstance(one, ast.alias):
            found.add(one.asname or one.name.partition(".")[0])
        elif isinstance(one, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and one.name:
            found.add(one.name)
        elif isinstance(one, ast.MatchMapping) and one.rest:
            found.add(one.rest)
    return names & found


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes inside a node, without its functions and classes, and without a comprehension's own names."""
    stack = list(ast.iter_child_nodes(node))
    while stack:
        one = stack.pop()
        yield one
        if isinstance(one, ast.comprehension):
            stack += [one.iter, *one.ifs]
        elif not isinstance(one, (*_DEFINITIONS, ast.Lambda)):
            stack += ast.iter_child_nodes(one)
