"""Loads the user's own class that a setting names as "module:Class": a benchmark, or a user simulator.

The module is a file in the checkout's root (shop.py, or people/angry.py as people.angry), otherwise an installed one.
As always, nothing else in the root can be imported; several files must be an installed package. It runs in the
worker, beside the keys: it must not be in the folder that the coding agent edits.
"""

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from autoharness.core.errors import UserError
from autoharness.core.redaction import scrubbed
from autoharness.core.settings import AGENT_FILE
from autoharness.import_finder import FromSource

_DOOR = "benchmark"
_FROM_ROOT = "autoharness_own_"
STOPS = (Exception, SystemExit, KeyboardInterrupt)
"""What the user's own code may raise: a command-line library that it uses ends the process on bad input."""


def load(setting: str, spec: str) -> Any:
    """The class. `spec`: such as "users:Impatient". Raises UserError, which begins with the setting."""
    name, _, class_name = spec.partition(":")
    module = _module(setting, name)
    cls = getattr(module, class_name, None)
    if not isinstance(cls, type):
        classes = [known for known, value in vars(module).items() if isinstance(value, type)]
        near = difflib.get_close_matches(class_name, classes, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{setting}: {spec}: {name} has no class {class_name}{hint}")
    return cls


def files_of(spec: str, cls: Any) -> list[Path]:
    """The files of its code, and folders of packages: of the named module, and the one that defines the class."""
    name = spec.partition(":")[0]
    modules = [sys.modules.get(f"{_FROM_ROOT}{name}") or sys.modules[name], sys.modules[cls.__module__]]
    return list(dict.fromkeys(path for module in modules for path in _file_or_package(module)))


def sources(paths: Iterable[Path]) -> list[tuple[str, Path]]:
    """All Python files there, each with a name that does not depend on the folder above."""
    found = [(path, sorted(path.rglob("*.py")) if path.is_dir() else [path]) for path in paths]
    return [(str(file.relative_to(path.parent)), file) for path, files in found for file in files]


def _file_or_package(module: ModuleType) -> list[Path]:
    package = sys.modules.get(module.__name__.partition(".")[0])
    file = getattr(package, "__file__", None) or getattr(module, "__file__", None)
    path = Path(file) if file else None
    return [path.parent if path.name == "__init__.py" else path] if path else []


def is_loose(cls: Any) -> bool:
    """Whether it comes from one installed file. The files beside that belong to others, and nobody could say which of
    them a score depends on."""
    module = sys.modules[cls.__module__]
    return not cls.__module__.startswith(_FROM_ROOT) and any(path.is_file() for path in _file_or_package(module))


def in_short(error: BaseException) -> str:
    """The error in one line, without keys: a client's error may have one in it."""
    try:
        said = " ".join(scrubbed(str(error)).split())
    except Exception:  # it cannot be turned into a text
        said = "(it cannot be printed)"
    return f"{type(error).__name__}: {said:.300}"


def _module(setting: str, name: str) -> ModuleType:
    file = Path(*name.split(".")).with_suffix(".py")
    if not file.exists():
        return _imported(setting, name, lambda: importlib.import_module(name))
    if file.resolve().is_relative_to(AGENT_FILE.parent.resolve()):
        raise UserError(f"{setting}: {name}: {file} is the agent's: put it beside the doors")
    return _imported(setting, name, lambda: _from_root(name, file))


def _from_root(name: str, file: Path) -> ModuleType:
    door = Path(f"{_DOOR}.py")
    if _DOOR not in sys.modules and door.exists():
        _executed(_DOOR, door)  # user code may import the promised names from it
    return _executed(f"{_FROM_ROOT}{name}", file)


def _executed(known: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_loader(known, FromSource(known, str(file.resolve())))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[known] = module
    spec.loader.exec_module(module)
    return module


def _imported(setting: str, name: str, load_module: Callable[[], ModuleType]) -> ModuleType:
    try:
        return load_module()
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            where = "neither here nor among the installed ones"
            raise UserError(f"{setting}: there is no module {name}: {where}") from error
        raise UserError(f"{setting}: {name} cannot be imported: {error}") from error
    except STOPS as error:
        raise UserError(f"{setting}: {name} cannot be imported: {in_short(error)}") from error
