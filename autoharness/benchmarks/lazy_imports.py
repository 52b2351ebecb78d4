"""Lazy imports: libraries that are imported at their first use, whichever module imports them.

tau2 imports litellm, which takes three seconds, to call LLMs; here its calls go to the gateway, and litellm is needed
only if a provider is really called. Pandas, for tables that nobody needs here, takes most of a further second. What
tau2 sets up in litellm at import (a cache, callbacks) stays undone: it would change our calls.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


@contextmanager
def postponed(*libraries: str) -> Iterator[None]:
    """Imports in the block get stand-ins for these libraries and their modules, unless they are loaded already."""
    finder = _Finder({library for library in libraries if library not in sys.modules})
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name, module in sys.modules.items() if isinstance(module, _StandIn)]:
            del sys.modules[name]
        finder.over = True


class _Finder:
    """Finds a stand-in for every module of the libraries."""

    def __init__(self, libraries: set[str]) -> None:
        self._libraries = libraries
        self.over = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        ours = name.partition(".")[0] in self._libraries
        return ModuleSpec(name, self, is_package=True) if ours else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name, self)

    def exec_module(self, module: ModuleType) -> None:
        pass


class _StandIn(ModuleType):
    """A stand-in for a module of the library; its names are looked up when they are used."""

    def __init__(self, name: str, finder: _Finder) -> None:
        super().__init__(name)
        self.__dict__["_finder"] = finder

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Later(self.__name__, name, self._finder)


class _Later:
    """A function or class of the library: while that is postponed a call does nothing, later the real thing."""

    def __init__(self, module: str, name: str, finder: _Finder) -> None:
        self._place = module, name
        self._finder = finder

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._real()(*args, **kwargs) if self._finder.over else None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not self._finder.over:
            raise AttributeError(name)
        return getattr(self._real(), name)

    def _real(self) -> Any:
        module, name = self._place
        return getattr(importlib.import_module(module), name)
