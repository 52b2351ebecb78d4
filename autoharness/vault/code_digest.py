"""The code digest: SHA-256 of the code that runs, scores and decides. Only code that was accepted gives a verdict.

The manifest has the SHA-256 of each file of this package, of each importable file in the checkout's root, of the
templates, of tau2's code (one digest), and of what Python runs by itself as it starts. It has a digest of `.env`
without the secrets: an address there decides who answers for a model. `prepare.py` accepts changed code, and every
printed score says so from then on.

What it does not protect against:
- Code that checks itself: anyone who edits this file, a door or `autoharness/__init__.py` (or puts a compiled module
  in its place) decides what the check finds. git still shows it. Coding agents that `optimize.py` starts are
  confined, and cannot do it.
- A change that is taken back before the next check. A run checks before its first simulation, and before it keeps
  each outcome; the gate checks once more after the last.
- The Python installation and its packages other than tau2: they are trusted, and not checked.
"""

import hashlib
import importlib.util
import json
import site
from collections.abc import Iterator
from pathlib import Path

from autoharness.core.command_form import typed
from autoharness.core.errors import UserError
from autoharness.core.files import PACKAGE_ROOT, Remembered, differences, write_json
from autoharness.core.outcomes import digest
from autoharness.core.redaction import SECRETS
from autoharness.vault.store import Store

Manifest = dict[str, str]

_FOLDER = "evaluators"
_IMPORTABLE = {".py", ".pyc", ".so"}
_AT_START = ("sitecustomize", "usercustomize")
_MOST_NAMED = 3
_NO_FILE = "no regular file"


def manifest() -> Manifest:
    """SHA-256 by name, of the code as it is now; the checkout is the working folder."""
    files = {**_package(), **_root(), **_started()}
    settings = _settings()
    return {
        **{name: _sha256(path) for name, path in files.items()},
        "tau2": digest({name: _sha256(path) for name, path in _tau2()}),
        **({".env": digest(settings)} if settings else {}),
    }


def keep(store: Store) -> str:
    """Keep the code's manifest in the vault, and return its digest."""
    now = manifest()
    path = _path(store, digest(now))
    if not path.exists():
        write_json(path, now)
    return digest(now)


def check(store: Store, accepted: str) -> str:
    """The code digest. Raises UserError if it is not `accepted`."""
    now = manifest()
    if digest(now) != accepted:
        raise UserError(
            f"the code is not what was accepted: {in_short(_differences(store, accepted, now))}; look at git "
            f"status and git diff and undo it, or accept it: {typed('prepare.py')}"
        )
    return accepted


def changes(store: Store, before: str, after: str) -> list[str]:
    """A line for each name that differs between two kept manifests. Raises UserError if one is not there."""
    return _differences(store, before, _kept(store, after))


def in_short(changed: list[str]) -> str:
    more = len(changed) - _MOST_NAMED
    return ", ".join(changed[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _differences(store: Store, accepted: str, now: Manifest) -> list[str]:
    if not accepted:
        return ["it was not recorded before"]
    return [f"{name} ({kind})" for name, kind in differences(_kept(store, accepted), now).items()]


def _kept(store: Store, name: str) -> Manifest:
    """Raises UserError if the kept manifest is gone or has changed."""
    try:
        kept: Manifest = json.loads(_path(store, name).read_text(encoding="utf-8"))
        if digest(kept) == name:
            return kept
    except (OSError, ValueError):
        pass
    raise UserError(f"{_path(store, name)} is missing or damaged: restore it")


def _path(store: Store, name: str) -> Path:
    return store.folder / _FOLDER / f"{name}.json"


def _package() -> dict[str, Path]:
    return {f"autoharness/{path.relative_to(PACKAGE_ROOT)}": path for path in _files(PACKAGE_ROOT)}


def _root() -> dict[str, Path]:
    """Whatever an `import` could find in the checkout, and the templates."""
    modules = [path for path in Path().iterdir() if path.suffix in _IMPORTABLE]
    packages = {path.parent for path in Path().glob("*/__init__.*")} - {Path("autoharness"), Path("agent")}
    templates = [Path("agent/templates"), Path("program_templates")]
    inside = [path for folder in {*packages, *templates} for path in _files(folder)]
    return {str(path): path for path in [*modules, *inside]}


def _started() -> dict[str, Path]:
    """What Python runs by itself as it starts."""
    folders = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    found = {str(path): path for folder in folders for path in Path(folder).glob("*.pth")}
    specs = {name: importlib.util.find_spec(name) for name in _AT_START}
    return found | {name: Path(spec.origin) for name, spec in specs.items() if spec and spec.origin}


def _tau2() -> Iterator[tuple[str, Path]]:
    """tau2's source files; asking for them does not import it."""
    spec = importlib.util.find_spec("tau2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        yield from ((str(path.relative_to(folder)), path) for path in Path(folder).rglob("*.py"))


def _settings() -> dict[str, str | None]:
    """The settings in `.env`, without the secrets."""
    from dotenv import dotenv_values

    settings = dotenv_values(".env", interpolate=False)
    return {name: value for name, value in settings.items() if value and not name.upper().endswith(SECRETS)}


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if not path.is_dir() and "__pycache__" not in path.parts]


def _sha256(path: Path) -> str:
    """Reads a file again only if its `stamp` has changed: this runs after every single simulation."""
    try:
        return _digests.of(path)
    except OSError:
        if path.is_file():
            raise
        return _NO_FILE  # a link that leads nowhere


def _read_sha256(path: Path) -> str:
    """Reads only regular files: a pipe would keep us waiting for ever."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else _NO_FILE


_digests = Remembered(_read_sha256)
