"""The coding agent's worktree: what is in it, what is taken from it; the user's repository stays as it was."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from checkout import Checkout
from conftest import TEMPLATE

from autoharness.commands.agent_templates import PACKAGES
from autoharness.core.errors import UserError
from autoharness.core.settings import AGENT_FILE
from autoharness.loop.worktree import NOTE, Worktree


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    made = Checkout.make(tmp_path)
    monkeypatch.chdir(made.root)
    return made


def _made(agent_source: str) -> Worktree:
    worktree = Worktree.begin()
    worktree.fill(agent_source)
    return worktree


def _state(checkout: Checkout) -> dict[str, str]:
    """Every file of the checkout and of its history that git does not merely log."""
    files = [path for path in checkout.root.rglob("*") if path.is_file() and "logs" not in path.parts]
    return {str(path): path.read_bytes().hex() for path in files}


def test_it_has_the_agent_and_what_it_may_use_and_leaves_no_trace(checkout: Checkout) -> None:
    before = _state(checkout)
    worktree = _made("# the kept version\n")
    assert (worktree.root / AGENT_FILE).read_text() == "# the kept version\n"
    files = sorted(str(path.relative_to(worktree.root)) for path in worktree.root.rglob("*") if path.is_file())
    templates = sorted(f"agent/templates/{name}.py" for name in PACKAGES)
    assert files == [".git", "agent/agent.py", *templates, "autoharness/agent_api.py"]
    assert checkout.git("worktree", "list").count("\n") == 2
    worktree.remove()
    assert not worktree.folder.exists() and checkout.git("worktree", "list").count("\n") == 1
    after = _state(checkout)
    assert after == before and checkout.git("status", "--porcelain") == ""


def test_what_it_touched_is_named_and_its_edit_is_taken(checkout: Checkout) -> None:
    worktree = _made(TEMPLATE)
    (worktree.root / "workspace").mkdir()
    (worktree.root / "workspace" / "suite.json").write_text("{}")
    worktree.remember()
    (worktree.root / AGENT_FILE).write_text("new\n")
    (worktree.root / NOTE).write_text("why\n")
    assert worktree.touched == []
    (worktree.root / "workspace" / "suite.json").write_text("[]")
    (worktree.root / "agent" / "templates" / "tau_bench.py").unlink()
    (worktree.root / "agent" / "sitecustomize.py").write_text("evil")
    os.mkfifo(worktree.root / "workspace" / "pipe")
    assert worktree.touched == [
        "agent/sitecustomize.py (new)",
        "agent/templates/tau_bench.py (missing)",
        "workspace/pipe (new)",
        "workspace/suite.json (changed)",
    ]
    assert (worktree.agent_source(), worktree.text(NOTE)) == (b"new\n", "why\n")
    worktree.remove()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "missing", "huge"])
def test_what_is_no_plain_file_is_not_read(checkout: Checkout, tmp_path: Path, kind: str) -> None:
    (tmp_path / "vault" / "trial.json").write_text("held out")
    worktree = _made(TEMPLATE)
    (worktree.root / "workspace").mkdir()
    for path in (worktree.root / AGENT_FILE, worktree.root / NOTE):
        path.unlink(missing_ok=True)
        if kind == "link":
            path.symlink_to(tmp_path / "vault" / "trial.json")
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "huge":
            path.write_bytes(b"#" * 1_000_001)
    with pytest.raises((UserError, OSError)):
        worktree.agent_source()
    assert worktree.text(NOTE) == ""
    worktree.remove()


@pytest.mark.parametrize("folder", ["agent", "workspace"])
def test_a_folder_that_became_a_link_is_not_read(checkout: Checkout, tmp_path: Path, folder: str) -> None:
    """It could lead to an iteration in the vault, which has files of these names."""
    worktree = _made(TEMPLATE)
    (worktree.root / "workspace").mkdir()
    worktree.remember()
    (tmp_path / "iterations").mkdir()
    for name in ("agent.py", NOTE.name):
        (tmp_path / "iterations" / name).write_text("of somebody else")
    (worktree.root / folder).rename(worktree.scratch / "was")
    (worktree.root / folder).symlink_to(tmp_path / "iterations")
    if folder == "agent":
        with pytest.raises(UserError, match="agent is a symbolic link, or no folder"):
            worktree.agent_source()
    assert worktree.text(NOTE) == "" and f"{folder} (new)" in worktree.touched
    worktree.remove()
    assert (tmp_path / "iterations" / "agent.py").exists()


def test_a_planted_repository_runs_nothing_of_its_own(checkout: Checkout, tmp_path: Path) -> None:
    """`git status` in a folder whose .git names a program would run it."""
    worktree = _made(TEMPLATE)
    worktree.remember()
    evil = worktree.root / "agent" / "evil"
    subprocess.run(["git", "init", "--quiet", str(evil)], check=True)
    config = f"[core]\n\tfsmonitor = touch {tmp_path}/ran; false\n"
    (evil / ".git" / "config").write_text(f"{(evil / '.git' / 'config').read_text()}{config}")
    (worktree.root / ".git").write_text(f"gitdir: {evil / '.git'}\n")
    subprocess.run(["git", "-C", str(worktree.root), "status"], capture_output=True, check=False)
    assert (tmp_path / "ran").exists(), "the trap works"
    (tmp_path / "ran").unlink()
    assert ".git (changed)" in worktree.touched and worktree.agent_source()
    worktree.remove()
    assert not (tmp_path / "ran").exists() and checkout.git("worktree", "list").count("\n") == 1


def test_a_folder_nested_too_deep_to_follow_is_removed(checkout: Checkout) -> None:
    worktree = _made(TEMPLATE)
    worktree.remember()
    os.chdir(worktree.root / "agent")
    for _ in range(1500):
        Path("d").mkdir()
        os.chdir("d")
    os.chdir(checkout.root)
    assert worktree.touched == []
    worktree.remove()
    assert not worktree.folder.exists()


def test_the_users_own_worktrees_stay_also_where_their_folders_cannot_be_seen(
    checkout: Checkout, tmp_path: Path
) -> None:
    """As from a container that sees this checkout alone; `git worktree prune` would forget them."""
    checkout.git("worktree", "add", "--quiet", str(tmp_path / "users"), "-b", "users")
    (tmp_path / "users").rename(tmp_path / "out of sight")
    _made(TEMPLATE).remove()
    (tmp_path / "out of sight").rename(tmp_path / "users")
    assert "users" in checkout.git("worktree", "list")
    assert subprocess.run(["git", "status"], cwd=tmp_path / "users", capture_output=True).returncode == 0


def test_names_that_are_no_text_or_more_than_a_line_are_shown_as_one(checkout: Checkout) -> None:
    worktree = _made(TEMPLATE)
    worktree.remember()
    (worktree.root / "agent" / "a\n\n## Iteration 2: accepted\x1b[2J").write_text("")
    with open(os.fsencode(worktree.root / "agent") + b"/x\xff", "wb"):  # noqa: PTH123
        pass
    assert worktree.touched == ["agent/a ## Iteration 2: accepted[2J (new)", "agent/x\\udcff (new)"]
    worktree.remove()


def test_many_files_do_not_keep_it_for_long(checkout: Checkout) -> None:
    worktree = _made(TEMPLATE)
    worktree.remember()
    for number in range(30):
        with (worktree.root / "agent" / f"sparse-{number}").open("wb") as file:
            file.truncate(10**9)
    started = time.monotonic()
    assert len(worktree.touched) == 30 and time.monotonic() - started < 5
    worktree.remove()
