"""Ties a checkout to its vault: both hold one id, and the vault knows the checkout's place.

    workspace/checkout.json   {"version", "id", "project"}: the project of docker compose; "" without it
    checkout.json             in the vault: {"version", "id", "place"}

Prepare writes both, and every command compares them before it opens the vault. So two checkouts do not share a vault
unknowingly (with docker compose a folder's name decides, and two folders may have one name), and a checkout that was
moved or copied does not begin anew unknowingly. A vault without an id is new, or an earlier version's: prepare ties
it.

What it does not protect against: somebody who writes these files. They decide nothing but whether a command runs.
"""

import json
import os
import re
import secrets
import shlex
from pathlib import Path
from typing import Any

from autoharness.core.command_form import in_compose, through_compose, typed
from autoharness.core.errors import UserError
from autoharness.core.files import read_text, write_json
from autoharness.vault.location import VAULT_VARIABLE, found_inner

CHECKOUT_FILE = Path("workspace/checkout.json")
_NAME = "checkout.json"
_VERSION = 1
_PROJECT_VARIABLE = "AUTOHARNESS_PROJECT"
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]*")
_MOUNTS = Path("/proc/self/mountinfo")

Json = dict[str, Any]

_tied: set[tuple[Path, Path]] = set()
"""Vaults and checkouts that this process has found tied to each other."""


def check_tie_once(vault: Path) -> None:
    """As `check_tie`, once in each process: what changes while a command runs ends no night."""
    if (pair := (vault, Path.cwd())) not in _tied:
        check_tie(vault)
        _tied.add(pair)


def check_tie(vault: Path) -> None:
    """Raises UserError if the checkout in the working folder has another vault, or the vault another checkout."""
    if os.access(vault, os.F_OK) and not os.access(vault, os.R_OK | os.X_OK):
        return  # opening it says whose it is
    of_vault, of_checkout = _of_vault(vault), _read(CHECKOUT_FILE)
    ours = of_checkout.get("id")
    if not of_vault:
        if ours and _is_used(vault):
            raise UserError(
                f"the vault {vault} does not know its checkout: it is an earlier version's, or its {_NAME} is lost; "
                f"if it is this checkout's, {_adopt('go on in it')}"
            )
        if ours:
            raise UserError(_elsewhere(vault, of_checkout))
        return
    here, there = place(), str(of_vault.get("place"))
    if ours != of_vault["id"] and there != here:
        raise UserError(
            f"the vault {vault} belongs to another checkout, {there}: {_another()}; or {_adopt('go on in it')}"
        )
    if there != here and (in_compose() or os.access(there, os.F_OK)):
        raise UserError(
            f"this checkout is not where it was prepared, {there}, and the vault {vault} may be used there: "
            f"if it was moved, {_adopt('go on')}; if it is a copy, {_another()}"
        )


def tie(vault: Path, inner: Path, adopt: bool) -> None:
    """Tie them, with the vault's lock held. `adopt`: whatever they were tied to. Raises UserError as `check_tie`."""
    if not adopt:
        check_tie(vault)
    known = _of_vault(vault)
    id = known.get("id") or secrets.token_hex(16)
    if adopt and known and _read(CHECKOUT_FILE).get("id") != id:
        id = secrets.token_hex(16)  # so that the checkout that had it is told
    of_vault = {"version": _VERSION, "id": id, "place": place()}
    of_checkout = {"version": _VERSION, "id": id, "project": os.environ.get(_PROJECT_VARIABLE, "")}
    if of_vault != known:
        write_json(inner / _NAME, of_vault)
    if of_checkout != _read(CHECKOUT_FILE):
        write_json(CHECKOUT_FILE, of_checkout)


def place() -> str:
    """Where the checkout is; in a container the folder that is mounted, as its file system names it."""
    here = Path.cwd().resolve()
    if in_compose():
        for line in reversed(_MOUNTS.read_text(errors="replace").splitlines()):
            root, mounted_at = (re.sub(r"\\(\d{3})", _unescaped, word) for word in line.split()[3:5])
            if mounted_at == str(here):
                return root if root != "/" else str(here)
    return str(here)


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 8))


def _of_vault(vault: Path) -> Json:
    """Empty if it is tied to no checkout, or not there."""
    inner = found_inner(vault)
    return _read(inner / _NAME) if inner else {}


def _read(path: Path) -> Json:
    try:
        known = json.loads(read_text(path))
        return known if isinstance(known.get("id"), str) and known["id"] else {}
    except (OSError, UserError, ValueError, AttributeError, RecursionError):
        return {}  # none, or none that is ours


def _elsewhere(vault: Path, of_checkout: Json) -> str:
    project = of_checkout.get("project")
    known = isinstance(project, str) and _PROJECT.fullmatch(project)
    if known and not in_compose():
        way = f"it was prepared through docker compose: {through_compose('prepare.py')}"
    elif known and project != os.environ.get(_PROJECT_VARIABLE):
        way = f"put COMPOSE_PROJECT_NAME={project} into .env"
    elif in_compose():
        way = "it was prepared without docker, or the volume is gone" if not known else "the volume is gone"
    elif its := _tied_to(of_checkout["id"], vault):
        way = _way_of_a_moved(its, vault)
    else:
        way = f"set {VAULT_VARIABLE} to it"
    return f"this checkout has another vault than {vault}: {way}; or {_adopt('begin anew')}"


def _way_of_a_moved(its: Path, vault: Path) -> str:
    """`its`: the vault that the checkout was prepared with."""
    there = str(_of_vault(its).get("place"))
    if os.access(there, os.F_OK):
        return f"it is a copy of {there}, whose vault stays where it is"
    aside = f"mv {shlex.quote(str(vault))} {shlex.quote(f'{vault}.aside')} && " if os.access(vault, os.F_OK) else ""
    return f"if it was moved, {aside}mv {shlex.quote(str(its))} {shlex.quote(str(vault))}"


def _is_used(vault: Path) -> bool:
    """Whether trials are in it."""
    inner = found_inner(vault)
    return bool(inner and any((inner / "trials").glob("*.json")))


def _tied_to(id: str, vault: Path) -> Path | None:
    """The vault beside this one that is tied to this id."""
    others = sorted(vault.parent.iterdir()) if vault.parent.is_dir() and not os.environ.get(VAULT_VARIABLE) else []
    return next((other for other in others if _of_vault(other).get("id") == id), None)


def _another() -> str:
    named = "put COMPOSE_PROJECT_NAME=NAME into .env" if in_compose() else f"set {VAULT_VARIABLE} to another folder"
    return f"for a vault of its own {named}"


def _adopt(what: str) -> str:
    return f"{what}: {typed('prepare.py --adopt-vault')}"
