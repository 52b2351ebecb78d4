"""Safe imports: what `import` finds in our processes.

Modules of this package and of tau2 are compiled from their .py files each time, never loaded from bytecode: Python
trusts a .pyc file that claims to be made from the source, git ignores such files, and nobody reviews what they hold.
Nothing in the checkout's root can be imported either: a file planted there would replace a module of the library.

While this file is loaded the root is still on the path, so it imports only what the interpreter has loaded by then.
"""

import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import FileFinder, SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType
    from typing import Any

_PACKAGES = ("autoharness", "tau2")


class FromSource(SourceFileLoader):
    """A loader that neither reads nor writes bytecode."""

    def get_code(self, fullname: str) -> "CodeType":
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


class _Finder:
    """Looks only for .py files: it does not see a compiled module beside one."""

    @staticmethod
    def find_spec(name: str, path: "Sequence[str] | None" = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] not in _PACKAGES:
            return None
        for folder in sys.path if path is None else path:
            spec = FileFinder(folder, (FromSource, [".py"])).find_spec(name)
            if spec and (spec.loader or path is not None):  # without a loader it is a folder without __init__.py
                return spec
        if path is None:
            return None  # an editable install has a finder of its own for the package, not for what is in it
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def from_source() -> None:
    """From now on load the modules of this package and of tau2 from their source."""
    sys.meta_path.insert(0, _Finder)


def begin() -> None:
    """Each of our processes calls this first: the root leaves sys.path, other modules use their bytecode again, and
    an uncaught error does not look like a verdict."""
    _open_what_is_closed()
    sys.excepthook = _end_by_code
    sys.pycache_prefix = sys._xoptions.get("pycache_prefix") or os.environ.get("PYTHONPYCACHEPREFIX")
    sys.path[:] = [place for place in sys.path if not _is_root(place)]


def _open_what_is_closed() -> None:
    """Open missing standard streams: otherwise a file of the vault could get stderr's number, and be written into."""
    while (free := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(free)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: PTH123, SIM115


def _end_by_code(kind: type[BaseException], *rest: "Any") -> None:
    """Python itself would exit 1, which is the gate's "rejected", for example if a dependency is not installed.

    The codes are those of `errors`, which may be the module that cannot be imported.
    """
    if issubclass(kind, KeyboardInterrupt):
        os._exit(130)
    sys.__excepthook__(kind, *rest)
    sys.stderr.flush()
    os._exit(70)


def python_path() -> str:
    """$PYTHONPATH without the root, for a child process."""
    places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(place for place in places if place and not _is_root(place))


def _is_root(place: str) -> bool:
    """Whether it is the working folder, or that of the file that was started."""
    started = getattr(sys.modules["__main__"], "__file__", None) or ""
    roots = {os.curdir, os.path.dirname(started) or os.curdir}  # noqa: PTH120  pathlib is not loaded yet
    try:
        return any(os.path.samefile(place or os.curdir, root) for root in roots)  # noqa: PTH121
    except OSError:
        return False
