"""Where the coding agent works: a git worktree of its own, with what it may see, in a folder that is thrown away.

    worktree/  agent/             from the user's commit, with the incumbent's agent.py     it may write here
               autoharness/agent_api.py  PROGRAM.md
               workspace/         train traces, diagnosis, learnings: copies                and here
    scratch/                      its HOME and its temporary files

Once the coding agent was in it, nothing of ours runs git there: a planted `.git` could name programs to run. What is
taken from it is the bytes of agent.py and the texts of two files, nothing else.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autoharness.config import AGENT_FILE
from autoharness.errors import UserError
from autoharness.store import read_agent, remove_tree, write_text

NOTE, PREDICTION = Path("workspace/note.md"), Path("workspace/prediction.json")
_YOURS = {str(AGENT_FILE), str(NOTE), str(PREDICTION)}
PREFIX = "auto-harness-"
_API = Path(__file__).resolve().with_name("agent_api.py")
_LARGEST_TEXT = 20_000
_MOST_COMPARED_BYTES, _MOST_COMPARED_FILES = 20_000_000, 20_000

Contents = dict[str, str]


class Worktree:
    """Made for one run of the coding agent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root, self.scratch = folder / "worktree", folder / "scratch"
        self._before: Contents = {}

    @classmethod
    def make(cls, agent_source: str) -> "Worktree":
        """With the agent folder of the checkout's HEAD, and this agent file in it. Raises UserError."""
        worktree = cls(Path(tempfile.mkdtemp(prefix=PREFIX)))
        worktree.scratch.mkdir()
        repository = open_repository()
        with _git_errors("cannot make a worktree"):
            repository.git.worktree("add", "--quiet", "--no-checkout", "--detach", str(worktree.root), "HEAD")
            repository.git.execute(["git", "-C", str(worktree.root), "checkout", "--quiet", "HEAD", "--", "agent"])
        write_text(worktree.root / AGENT_FILE, agent_source)
        write_text(worktree.root / "autoharness" / "agent_api.py", _API.read_text(encoding="utf-8"))
        return worktree

    def remember(self) -> None:
        """What is here now is what the coding agent finds."""
        self._before = _contents(self.root)

    @property
    def touched(self) -> list[str]:
        """The files that are not the coding agent's, and differ: "workspace/suite.json (changed)"."""
        now, before = _contents(self.root), self._before
        kinds = {
            name: "new" if name not in before else "missing" if name not in now else "changed"
            for name in sorted(before | now)
            if before.get(name) != now.get(name) and name not in _YOURS
        }
        return [f"{name} ({kind})" for name, kind in kinds.items()]

    def agent_source(self) -> bytes:
        """Raises UserError for what is no plain file, OSError where there is none."""
        return read_agent(self.root / AGENT_FILE)

    def text(self, name: Path) -> str:
        """A file that the coding agent wrote, or may have; "" where there is none that can be read."""
        try:
            return read_agent(self.root / name).decode(errors="replace")[:_LARGEST_TEXT]
        except (OSError, UserError):
            return ""

    def remove(self) -> None:
        remove_tree(self.folder)
        with _git_errors("cannot remove the worktree"):
            open_repository().git.worktree("prune")


def open_repository() -> Any:
    """The checkout's. Raises UserError."""
    import git

    try:
        return git.Repo(".", search_parent_directories=True)
    except git.InvalidGitRepositoryError as error:
        raise UserError("this folder is no git repository: git init && git add . && git commit -m start") from error


def branch_of(repository: Any) -> str:
    """The branch that is checked out; "" where none is. Raises UserError where there is no commit yet."""
    try:
        repository.head.commit  # noqa: B018
    except ValueError as error:
        raise UserError("there is no commit yet: git add . && git commit -m start") from error
    return "" if repository.head.is_detached else str(repository.active_branch.name)


@contextmanager
def _git_errors(what: str) -> Iterator[None]:
    """Turns what git complains about into one line."""
    import git

    try:
        yield
    except git.GitCommandError as error:
        reason = " ".join((error.stderr or str(error)).split())[:300]
        raise UserError(f"git {what}: {reason}") from error


def _contents(root: Path) -> Contents:
    """A digest of every file, and of what is none. Folders are walked one by one: whoever made them may have nested
    them deeper than a recursion goes, or filled them."""
    found: Contents = {}
    folders = [root]
    while folders and len(found) < _MOST_COMPARED_FILES:
        try:
            entries = sorted(folders.pop().iterdir())
        except OSError:  # its path is too long, or it was closed to us
            continue
        for path in entries:
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                folders.append(path)
            else:
                found[str(path.relative_to(root))] = _digest_of(path, status)
    return found


def _digest_of(path: Path, status: os.stat_result) -> str:
    if not stat.S_ISREG(status.st_mode):
        return f"no regular file, {status.st_mode:o}"
    if status.st_size > _MOST_COMPARED_BYTES:
        return f"{status.st_size} bytes"
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return str(error.strerror)
