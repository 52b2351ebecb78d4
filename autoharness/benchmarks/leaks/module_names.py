"""Finds the modules that a program uses, by any name, and the names that it takes out of them.

Modules of Python's library hold others: `json.codecs` is codecs, `enum.bltns` is builtins. So each module of the
library that an agent file may import is imported here as well, to see what its names are. For other packages only the
names are known. A module in a variable is not followed: using a module as a value is reported.
"""

import ast
import importlib
import sys
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import NamedTuple

FINE = frozenset(
    """
    __future__ abc ast asyncio bisect calendar cmath collections concurrent contextlib contextvars copy csv
    dataclasses datetime decimal difflib enum errno fractions functools graphlib hashlib heapq hmac html http io
    ipaddress itertools json keyword locale logging math numbers operator os pprint queue random re reprlib secrets
    shlex statistics string sys textwrap threading time tomllib traceback types typing unicodedata urllib uuid
    warnings weakref xml zoneinfo
    """.split()  # noqa: SIM905
)
"""Modules of Python's library that are fine; of some of them not every name."""
_OF_ITSELF = frozenset(("__name__", "__version__", "__doc__"))


def _is_of_library(path: str) -> bool:
    """Whether a module is Python's own."""
    return path.partition(".")[0] in sys.stdlib_module_names


class Taken(NamedTuple):
    """A name that is taken out of a module."""

    node: ast.AST
    module: str
    name: str

    @property
    def is_inside(self) -> bool:
        """Whether it is another module, or a private name of this one: random._os."""
        if not _is_of_library(self.module):
            return False
        is_private = self.name.startswith("_") and self.name not in _OF_ITSELF
        return is_private or _is_of_another(self.module, self.name)


class Modules:
    """The modules of one program."""

    def __init__(self, nodes: list[ast.AST]) -> None:
        self._nodes = nodes
        self.names = dict(_names(nodes))
        """Paths of modules, by the names that the program gives them."""

    def path(self, node: ast.AST | None) -> str:
        """The path of the module that an expression is, such as "json.decoder"; "" if it is not a known module."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id, "")
        if isinstance(node, ast.Attribute) and (outer := self.path(node.value)):
            inner = f"{outer}.{node.attr}"
            return inner if _module(inner) or not _is_of_library(outer) else ""
        return ""

    def taken(self) -> Iterator[Taken]:
        """Every name that is taken out of a module, by an attribute or an import."""
        for node in self._nodes:
            if isinstance(node, ast.Attribute) and (path := self.path(node.value)):
                yield Taken(node, path, node.attr)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield from _steps(node, alias.name)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from _steps(node, node.module)
                listed = [alias.name for alias in node.names]
                names = self._used_of(node.module) if listed == ["*"] else listed
                yield from (Taken(node, node.module, name) for name in names)

    def handed_on(self) -> Iterator[tuple[ast.AST, str]]:
        """(expression, path) of each module that is a value: in a variable, an argument, a list."""
        owners = {id(node.value) for node in self._nodes if isinstance(node, ast.Attribute)}
        for node in self._nodes:
            is_read = isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
            if is_read and id(node) not in owners and _is_of_library(path := self.path(node)):
                yield node, path

    def _used_of(self, module: str) -> list[str]:
        """The names that the program uses of all that a star import may bring."""
        used = sorted({node.id for node in self._nodes if isinstance(node, ast.Name)})
        found = _module(module)
        return [name for name in used if hasattr(found, name)] if found else ["*"]


def _steps(node: ast.AST, path: str) -> Iterator[Taken]:
    """`import a.b.c` takes b out of a, and c out of that."""
    parts = path.split(".")
    return (Taken(node, ".".join(parts[:end]), parts[end]) for end in range(1, len(parts)))


def _names(nodes: list[ast.AST]) -> Iterator[tuple[str, str]]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, top)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if _module(f"{node.module}.{alias.name}"):
                    yield alias.asname or alias.name, f"{node.module}.{alias.name}"


@cache
def _module(path: str) -> ModuleType | None:
    """A module of Python's library, if this is its own path."""
    parts = path.split(".")
    if parts[0] not in FINE or any(part.startswith("_") for part in parts[1:]):
        return None
    try:
        return importlib.import_module(path)
    except ImportError:
        return None


def _is_of_another(path: str, name: str) -> bool:
    """Whether a module of the library has the name from another one, and does not offer it as its own."""
    module = _module(path)
    value = getattr(module, name, None)
    if isinstance(value, ModuleType):
        return _module(f"{path}.{name}") is None
    home = getattr(value, "__module__", None)
    if name in getattr(module, "__all__", [name]) or not isinstance(home, str) or home.startswith("_"):
        return False
    return home.partition(".")[0] not in (path.partition(".")[0], "builtins")
