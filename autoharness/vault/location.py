"""The location of a vault's files: one folder with a random name, which nobody can guess without listing the vault.

Landlock hides what a file holds. It does not hide whether the file exists, how long it is and when it was written:
that would tell an agent's code what its simulation is for, and a coding agent which held-out tasks crashed. So
everything is below `inner-X`, and X is random. Only the folders of agent hosts are beside it, since a host sees its
own path; their times tell nothing (`starter`).

`format` holds the version of all that is stored. From format 1 on, a checkout that is older than a vault does not
touch it, and says so.

A vault of an older version has everything in its root. It is moved when the vault is opened, one entry after the
other: a kill leaves the rest for the next time.
"""

import hashlib
import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path

from autoharness.core.errors import UserError
from autoharness.core.files import is_locked, locked, write_text

VAULT_VARIABLE = "AUTOHARNESS_VAULT"
HOSTS = "hosts"
FORMAT = 1
"""Raise it with each change that an older version would misread. A new field that may be missing needs no raise."""
_PREFIX, _FORMAT_FILE = "inner-", "format"
OLDER = (
    *("trials", "agents", "runs", "evaluators", "iterations", "llm-cache", "revealed"),
    *("ledger.jsonl", "ledger.head.json", "holdout.jsonl", "data.json", "secret", "lock", "loop.lock"),
    *("loop.json", "limits.json", "spending.jsonl"),
)
"""What an older version kept in the root."""
_LOCKS = ("lock", "loop.lock")
_ASIDE = "*.damaged-*"
"""What an older version set aside there."""


def home() -> Path | None:
    """The home of this account, as HOME or the system's list of users has it; None if neither names one."""
    try:
        found = Path.home()
    except RuntimeError:
        return None
    return found if found.is_absolute() else None


def expanded(name: str) -> Path:
    """A folder, with `~` replaced by the home of its account. Raises UserError if there is none."""
    if name.startswith("~") and home() is None:
        raise UserError(
            f"this account has no home folder to keep a vault in: set HOME, or {VAULT_VARIABLE}, to an absolute path"
        )
    try:
        return Path(name).expanduser().absolute()
    except RuntimeError as error:  # no such account
        raise UserError(f"{VAULT_VARIABLE}: {name}: {error}") from error


def named_vault() -> Path:
    """`$AUTOHARNESS_VAULT`, otherwise a folder for this checkout under the user's state folder. Raises UserError."""
    named, checkout = os.environ.get(VAULT_VARIABLE), Path.cwd().resolve()
    if named:
        vault = expanded(named)
        if vault.resolve().is_relative_to(checkout):
            raise UserError(f"{VAULT_VARIABLE}: {vault} lies inside the checkout, where a coding agent works")
        return vault
    experiment_id = f"{checkout.name}-{hashlib.sha256(str(checkout).encode()).hexdigest()[:8]}"
    return expanded("~") / ".local" / "state" / "auto-harness" / experiment_id


def inner_folder(vault: Path) -> Path:
    """The inner folder. Makes it if there is none, and moves what an older version has left.

    Raises OSError, and UserError if a later version has written there.
    """
    found = found_inner(vault)
    known = _format(found) if found else 0
    if known > FORMAT:
        raise UserError(
            f"the vault {vault} was written by a later version of auto-harness (format {known}, and this one knows "
            f"{FORMAT}): update this checkout, or set another {VAULT_VARIABLE}"
        )
    if found and known == FORMAT and not _left_by_older(vault):
        return found
    with locked(vault):  # two commands may begin at once
        if any(is_locked(vault / name) for name in _LOCKS):  # what it goes on to write would be left behind
            raise UserError(f"a command of an older version is at work on {vault}: wait until it has ended")
        inner = found_inner(vault) or vault / f"{_PREFIX}{secrets.token_hex(16)}"
        inner.mkdir(mode=0o700, exist_ok=True)
        for path in _left_by_older(vault):
            _move(path, inner / path.name)
        write_text(inner / _FORMAT_FILE, f"{FORMAT}\n")
    return inner


def _format(inner: Path) -> int:
    """0 if none was written."""
    try:
        return int((inner / _FORMAT_FILE).read_text())
    except FileNotFoundError:
        return 0
    except ValueError:
        raise UserError(
            f"{inner / _FORMAT_FILE} is damaged, or of a later version of auto-harness: this one writes {FORMAT}"
        ) from None


def found_inner(vault: Path) -> Path | None:
    """The inner folder; None if there is none yet."""
    return min(vault.glob(f"{_PREFIX}*"), default=None)


def _left_by_older(vault: Path) -> list[Path]:
    return [path for path in (*(vault / name for name in OLDER), *vault.glob(_ASIDE)) if path.exists()]


def _move(path: Path, target: Path) -> None:
    """Rename a file or a folder, or what is in it. If both exist, both stay, under different names."""
    if path.is_dir() and target.is_dir():
        for inside in path.iterdir():
            _move(inside, target / inside.name)
        path.rmdir()
        return
    if target.exists():
        target = target.with_name(f"{target.name}.other-{secrets.token_hex(4)}")
        print(f"[vault] {path} was written by an older version meanwhile: kept as {target}", file=sys.stderr)
    with suppress(FileNotFoundError):  # another command was faster
        path.rename(target)
