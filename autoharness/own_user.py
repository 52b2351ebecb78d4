"""A user simulator of one's own: `user: "module:Class"`, a class with the methods of tau2's.

The module is a file in the checkout's root (users.py, or people/angry.py as people.angry), else an installed one. Of
the root nothing but that file can be imported, as ever. It runs in the worker, beside the keys: the folder that the
coding agent edits is no place for it. What goes wrong in it is the user simulator's failure, never the agent's.
"""

import difflib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from autoharness.config import AGENT_FILE
from autoharness.errors import AutoHarnessError, UserError, UserSimulatorError

_METHODS = ("get_init_state", "generate_next_message", "set_seed", "stop")


@dataclass(frozen=True)
class OwnUser:
    """The class, and the SHA-256 of its module's file."""

    cls: Any
    sha256: str


class _Source(SourceFileLoader):
    """Compiles what it is given; bytecode that lies around is not believed."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def load(spec: str) -> OwnUser:
    """`spec`: such as "users:Impatient". Raises UserError."""
    name, _, class_name = spec.partition(":")
    module = _module(name)
    cls = getattr(module, class_name, None)
    if not isinstance(cls, type):
        classes = [known for known, value in vars(module).items() if isinstance(value, type)]
        near = difflib.get_close_matches(class_name, classes, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"user: {spec}: {name} has no class {class_name}{hint}")
    missing = [method for method in _METHODS if not callable(getattr(cls, method, None))]
    if missing:
        raise UserError(f"user: {spec}: no user simulator: it has no {', '.join(missing)}")
    file = getattr(module, "__file__", None)
    return OwnUser(cls, hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else "")


def _module(name: str) -> ModuleType:
    file = Path(*name.split(".")).with_suffix(".py")
    if not file.exists():
        return _imported(name, lambda: importlib.import_module(name))
    if file.resolve().is_relative_to(AGENT_FILE.parent.resolve()):
        raise UserError(f"user: {name}: {file} is the agent's: put it beside the doors")
    return _imported(name, lambda: _from_root(name, file))


def _from_root(name: str, file: Path) -> ModuleType:
    known = f"autoharness_user_{name}"
    spec = importlib.util.spec_from_loader(known, _Source(known, str(file.resolve())))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[known] = module
    spec.loader.exec_module(module)
    return module


def _imported(name: str, load_module: Callable[[], ModuleType]) -> ModuleType:
    try:
        return load_module()
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise UserError(f"user: there is no module {name}: neither here nor among the installed ones") from error
        raise UserError(f"user: {name} cannot be imported: {error}") from error
    except Exception as error:
        raise UserError(f"user: {name} cannot be imported: {in_short(error)}") from error


def blamed(user: Any, spec: str) -> Any:
    """The same user simulator; what it raises, or says without saying anything, is a UserSimulatorError."""
    for name in _METHODS:
        setattr(user, name, _blamed(getattr(user, name), spec, checked=name == "generate_next_message"))
    return user


def _blamed(method: Callable[..., Any], spec: str, checked: bool) -> Callable[..., Any]:
    @wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            result = method(*arguments, **named)
            if checked:
                message, _ = result
                message.validate()
        except AutoHarnessError:
            raise
        except Exception as error:
            raise UserSimulatorError(f"{spec} raised {in_short(error)}") from error
        return result

    return call


def in_short(error: Exception) -> str:
    """In one line."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said:.300}"
