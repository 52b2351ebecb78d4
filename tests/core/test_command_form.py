"""Commands are named in the form in which they are typed here: plain, or through docker compose."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

from autoharness.core.command_form import (
    COMMAND_VARIABLE,
    as_root,
    installing,
    other_owner,
    serving,
    typed,
    wrong_account,
)
from autoharness.core.errors import UserError
from autoharness.core.git_repository import Repository

COMPOSE = "docker compose run --rm autoeval python"
PLAIN = re.compile(r"python (prepare|benchmark|gating|record|optimize|report)\.py")
RESULTS_FILE = "report/nemo_results.py"  # NeMo's own format names the command
SOMEBODY = 54321


def _texts(tree: ast.Module) -> Iterator[str]:
    """All texts that a module may print: its string constants, but for docstrings."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value


@pytest.mark.parametrize("suffix", ["py", "j2", "js"])
def test_no_text_has_the_plain_form_written_into_it(suffix: str) -> None:
    files = [path for path in (ROOT / "autoharness").rglob(f"*.{suffix}") if not path.match(RESULTS_FILE)]
    assert files
    for path in files:
        texts = _texts(ast.parse(path.read_text())) if suffix == "py" else [path.read_text()]
        assert not [text for text in texts if PLAIN.search(text)], path


@pytest.fixture
def in_compose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The checkout in the container."""
    monkeypatch.setenv(COMMAND_VARIABLE, COMPOSE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_variable_of_compose_decides_the_form(in_compose: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert typed("prepare.py --check") == f"{COMPOSE} prepare.py --check"
    assert installing("x") == "docker compose build"
    assert "--publish 127.0.0.1:" in serving()
    monkeypatch.delenv(COMMAND_VARIABLE)
    assert typed("prepare.py").endswith("python prepare.py") or typed("prepare.py").startswith(sys.orig_argv[0])
    assert installing("x") == "pip install x"
    assert serving() == typed("report.py --serve")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "docker compose run --rm autoeval python report.py"),
        ({COMMAND_VARIABLE: COMPOSE}, "docker compose build"),
    ],
    ids=["on-the-host", "in-an-old-image"],
)
def test_a_python_without_the_packages_is_told_so_in_one_line(
    environment: dict[str, str], expected: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-S", "-E", ROOT / "report.py"]  # -S: without site-packages
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert done.stderr.startswith("error: the package dotenv is not installed for ") and expected in done.stderr


def test_a_checkout_of_another_account_names_the_ids(in_compose: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are patched: only root may change an owner, and root may write everywhere."""
    assert wrong_account() == ""
    owner = in_compose.stat()
    monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
    assert wrong_account() == "" or os.getuid()  # it is another's, but open to us
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert f"HOST_UID={owner.st_uid} and HOST_GID={owner.st_gid}" in wrong_account()


def test_a_volume_of_another_account_is_given_over_by_root(
    in_compose: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = tmp_path_factory.mktemp("vault")
    assert other_owner(volume / "hosts") == ""
    monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
    said = other_owner(volume / "hosts")
    assert as_root(f"chown -R {SOMEBODY}:{os.getegid()} {Path(*volume.parts[:2])}") in said
    monkeypatch.delenv(COMMAND_VARIABLE)
    assert (other_owner(volume), wrong_account()) == ("", "")


@pytest.mark.parametrize("compose", [False, True], ids=["plain", "compose"])
def test_a_linked_worktree_without_its_repository_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compose: bool
) -> None:
    for command in ("init -q main", "-C main commit -q --allow-empty -m start", "-C main worktree add -q ../linked"):
        identity = ["-c", "user.name=x", "-c", "user.email=x@x"]
        subprocess.run(["git", *identity, *command.split()], cwd=tmp_path, check=True)
    Repository(tmp_path / "linked").check()
    (tmp_path / "main").rename(tmp_path / "hidden")
    if compose:
        monkeypatch.setenv(COMMAND_VARIABLE, COMPOSE)
    mount = f"--volume {tmp_path}/main/.git:{tmp_path}/main/.git "
    with pytest.raises(UserError, match="linked worktree") as told:
        Repository(tmp_path / "linked")
    assert (mount in str(told.value)) == compose
