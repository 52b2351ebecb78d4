"""git runs nothing that a repository names, has no keys, and commits one file as it is."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from checkout import Checkout
from conftest import TEMPLATE
from evil_repository import plant

from autoharness.core.errors import UserError
from autoharness.core.git_repository import Repository, begin
from autoharness.core.settings import AGENT_FILE

COMMENT = "# another version\n"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    made = Checkout.make(tmp_path)
    monkeypatch.chdir(made.root)
    return made


def _all_of_it(checkout: Checkout) -> None:
    """Everything that is ever asked of git, with files that differ from what is stored."""
    repository = Repository()
    (checkout.root / "prepare.py").touch()
    checkout.agent.write_text(TEMPLATE + COMMENT)
    assert repository.is_dirty() and repository.tracks(AGENT_FILE) and repository.branch
    commit = repository.commit(AGENT_FILE, (TEMPLATE + COMMENT).encode(), "a version\n\nledger row 1")
    assert repository.head == commit and repository.has(commit)
    assert repository.file(commit, AGENT_FILE) == (TEMPLATE + COMMENT).encode()
    assert repository.messages()[commit].strip() == "a version\n\nledger row 1"
    worktree = checkout.root.parent / "made" / "worktree"
    repository.add_worktree(worktree, "agent")
    assert (worktree / AGENT_FILE).read_text() == TEMPLATE + COMMENT
    entry = repository.worktree_entry(worktree)
    assert entry
    (entry / "gitdir").rename(entry / "elsewhere")  # a full disk has kept it from being written
    assert repository.worktree_entry(worktree) == entry
    (entry / "elsewhere").rename(entry / "gitdir")


def test_no_program_that_a_repository_names_runs(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-ours-0123456789")
    for name in ("GIT_EXTERNAL_DIFF", "GIT_SSH_COMMAND", "GIT_EDITOR", "GIT_PAGER", "GIT_PYTHON_GIT_EXECUTABLE"):
        monkeypatch.setenv(name, str(tmp_path / "program"))
    plant(checkout, ran)
    _all_of_it(checkout)
    assert not ran.exists(), ran.read_text()
    monkeypatch.delenv("GIT_EXTERNAL_DIFF")
    (checkout.root / "prepare.py").touch()
    subprocess.run(["git", "status"], stdin=subprocess.DEVNULL, capture_output=True)
    subprocess.run(
        ["git", "-c", "alias.x=!true", "commit", "-am", "x"], stdin=subprocess.DEVNULL, capture_output=True
    )
    said = ran.read_text()
    assert "sk-of-ours" in said and len(said.splitlines()) > 3, "the traps work"


def test_git_has_what_it_needs_in_its_environment_and_no_key(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `git` on PATH that writes down what it is given, and does what git does."""
    told, real = tmp_path / "told", shutil.which("git")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text(f'#!/bin/sh\nenv >> {told}\nexec {real} "$@"\n')
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    revision = Repository().head
    assert "GIT_DIR=" in told.read_text()
    told.unlink()  # GitPython had git say its version when it was imported, which reads nothing of a repository
    for name in ("OPENAI_API_KEY", "MY_SERVER", "SOME_TOKEN", "AUTOHARNESS_VAULT"):
        monkeypatch.setenv(name, "must not be seen")
    _all_of_it(checkout)
    begin(tmp_path / "fetched").fetch(str(checkout.root), revision, "agent")
    assert "GIT_DIR=" in told.read_text() and "must not be seen" not in told.read_text()


def test_commits_the_file_alone_and_leaves_the_index_as_it_was_but_for_it(checkout: Checkout) -> None:
    (checkout.root / "other.txt").write_text("staged by somebody")
    checkout.git("add", "other.txt")
    checkout.git("rm", "--quiet", "--cached", "record.py")
    checkout.agent.write_text(TEMPLATE + COMMENT)
    before = checkout.git("rev-parse", "HEAD").strip()
    commit = Repository().commit(AGENT_FILE, (TEMPLATE + COMMENT).encode(), "subject\n\nbody")
    assert checkout.git("show", "--name-only", "--format=%P %s", commit) == f"{before} subject\n\nagent/agent.py\n"
    status = checkout.git("status", "--porcelain").splitlines()
    assert status == ["A  other.txt", "D  record.py", "?? record.py"], "clean for agent.py, as before for the others"
    assert "commit: subject" in checkout.git("reflog", "-1") and checkout.git("fsck", "--strict") == ""


def test_what_is_committed_already_is_not_committed_again_and_what_a_kill_left_unstaged_is_staged(
    checkout: Checkout,
) -> None:
    checkout.agent.write_text(TEMPLATE + COMMENT)
    checkout.git("commit", "--quiet", "--message", "by hand", "agent/agent.py")
    checkout.git("read-tree", "HEAD~1")  # its index is that of before
    head = checkout.git("rev-parse", "HEAD").strip()
    assert Repository().commit(AGENT_FILE, (TEMPLATE + COMMENT).encode(), "again") == head
    assert checkout.git("status", "--porcelain") == "" and checkout.git("rev-list", "--count", "HEAD") == "2\n"


def _on_a_branch(checkout: Checkout) -> None:
    checkout.git("checkout", "--quiet", "-b", "night/one")


def _detached(checkout: Checkout) -> None:
    checkout.git("checkout", "--quiet", "--detach")


def _packed(checkout: Checkout) -> None:
    checkout.git("gc", "--quiet")


def _split_index(checkout: Checkout) -> None:
    checkout.git("update-index", "--split-index")
    checkout.git("config", "core.splitIndex", "true")


def _an_executable(checkout: Checkout) -> None:
    checkout.agent.chmod(0o755)
    checkout.git("commit", "--quiet", "-am", "executable")


def _in_a_linked_worktree(checkout: Checkout) -> None:
    linked = checkout.root.parent / "linked"
    checkout.git("worktree", "add", "--quiet", str(linked), "-b", "linked")
    checkout.root = linked
    os.chdir(linked)


def _with_another_hash(checkout: Checkout) -> None:
    shutil.rmtree(checkout.root / ".git")
    checkout.git("init", "--quiet", "--object-format=sha256")
    checkout.commit()


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [_on_a_branch, _detached, _packed, _split_index, _an_executable, _in_a_linked_worktree, _with_another_hash],
    ids=lambda kind: kind.__name__.strip("_"),
)
def test_every_kind_of_repository_is_committed_to(checkout: Checkout, kind: Callable[[Checkout], None]) -> None:
    kind(checkout)
    branch = checkout.git("branch", "--show-current").strip()
    for number in range(2):
        source = TEMPLATE + COMMENT * (number + 1)
        checkout.agent.write_text(source)
        commit = Repository().commit(AGENT_FILE, source.encode(), f"version {number}")
        assert checkout.git("rev-parse", "HEAD").strip() == commit == Repository().head
        assert checkout.git("show", "HEAD:agent/agent.py") == source
        assert checkout.git("status", "--porcelain") == "" and not Repository().is_dirty()
        assert (checkout.git("branch", "--show-current").strip(), Repository().branch) == (branch, branch)
        assert f"commit: version {number}" in checkout.git("reflog", "-1")
    assert checkout.git("rev-list", "--count", "HEAD") == ("4\n" if kind is _an_executable else "3\n")
    assert checkout.git("fsck", "--strict") == ""


def test_another_git_at_work_is_one_line(checkout: Checkout) -> None:
    for lock in ("index.lock", "refs/heads/master.lock"):
        checkout.git("checkout", "--quiet", "-B", "master")
        (checkout.root / ".git" / lock).write_text("")
        with pytest.raises(UserError, match=r"git (update-index|update-ref) failed: .*\.lock"):
            Repository().commit(AGENT_FILE, b"# another", "subject")
        (checkout.root / ".git" / lock).unlink()
        assert Repository().head == checkout.git("rev-parse", "HEAD").strip()


def test_who_commits_is_the_users_and_else_nobody(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(checkout.root.parent))
    for name in [name for name in os.environ if name.startswith(("GIT_AUTHOR", "GIT_COMMITTER", "XDG_CONFIG"))]:
        monkeypatch.delenv(name)
    names = []
    for number, config in enumerate(
        ["", "[user]\n\tname = Ada\n", "[user]\n\tname = Ada\n\temail = ada@localhost\n"]
    ):
        (checkout.root.parent / ".gitconfig").write_text(config)
        Repository().commit(AGENT_FILE, f"# {number}".encode(), "subject")
        names.append(checkout.git("log", "-1", "--format=%an <%ae> %cn").strip())
    nobody = "auto-harness <auto-harness@localhost> auto-harness"
    assert names == [nobody, nobody, "Ada <ada@localhost> Ada"]


def test_a_commit_that_git_replaces_is_not_replaced_here(checkout: Checkout) -> None:
    first = Repository().head
    second = Repository().commit(AGENT_FILE, b"# another", "subject")
    checkout.git("replace", second, first)
    assert checkout.git("show", f"{second}:agent/agent.py") == TEMPLATE
    assert Repository().file(second, AGENT_FILE) == b"# another"


@pytest.mark.parametrize("commit", ["", "HEAD", "f" * 40, "--all", "0" * 39 + "\n", "f" * 40 + "\nHEAD"])
def test_what_is_no_commit_here_has_no_file(checkout: Checkout, commit: str) -> None:
    assert Repository().file(commit, AGENT_FILE) is None and not Repository().has(commit)


def test_a_worktree_has_no_link_of_the_commit(checkout: Checkout, tmp_path: Path) -> None:
    (checkout.root / "agent" / "link").symlink_to(tmp_path)
    checkout.git("add", ".")
    checkout.git("commit", "--quiet", "-m", "a link")
    Repository().add_worktree(tmp_path / "made" / "worktree", "agent")
    assert not (tmp_path / "made" / "worktree" / "agent" / "link").is_symlink()
    assert (tmp_path / "made" / "worktree" / AGENT_FILE).read_text() == TEMPLATE


def test_without_a_repository_or_a_commit_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="git init"):
        Repository()
    subprocess.run(["git", "init", "--quiet", "."], check=True)
    with pytest.raises(UserError, match="there is no commit yet"):
        Repository().check()
    assert Repository().messages() == {}


@pytest.mark.parametrize("config", ["[core", "\0\xff", "[include]\n\tpath = /nowhere\n", "[core]\n\tworktree = /\n"])
def test_a_config_that_says_anything_decides_nothing(checkout: Checkout, config: str) -> None:
    with (checkout.root / ".git" / "config").open("a") as file:
        file.write(config)
    assert Repository().file(Repository().head, AGENT_FILE) == TEMPLATE.encode()


def test_what_the_disk_cannot_keep_is_no_change(checkout: Checkout) -> None:
    """On some mounts and in some containers every file has the same mode."""
    checkout.agent.chmod(0o755)
    assert Repository().is_dirty()
    checkout.git("config", "core.fileMode", "false")
    assert not Repository().is_dirty() and checkout.git("status", "--porcelain", "--untracked-files=no") == ""
