"""The git worktree that the coding agent works in: it has what the agent may see, in a temporary folder.

    worktree/  agent/             from the user's commit, with the incumbent's agent.py     it may write here
               autoharness/agent_api.py  PROGRAM.md
               workspace/         train traces, diagnosis, learnings: copies                and here
    scratch/                      its HOME and its temporary files

Once the coding agent was in it, auto-harness runs no git there: a planted `.git` could name programs to run. It takes
only the bytes of agent.py and the texts of two files.
"""

import hashlib
import os
import stat
import tempfile
from itertools import islice
from pathlib import Path

from autoharness.core.errors import UserError
from autoharness.core.files import PACKAGE_ROOT, differences, read_plain, remove_tree, write_text
from autoharness.core.git_repository import Repository
from autoharness.core.redaction import one_line, printable
from autoharness.core.settings import AGENT_FILE

NOTE, PREDICTION = Path("workspace/note.md"), Path("workspace/prediction.json")
_YOURS = {str(AGENT_FILE), str(NOTE), str(PREDICTION)}
PREFIX = "auto-harness-"
_API = PACKAGE_ROOT / "agent_api.py"
_LARGEST_TEXT = 20_000
_MOST_COMPARED_BYTES, _MOST_COMPARED_FILES = 100_000_000, 10_000
_LONGEST_NAME = 120

Contents = dict[str, str]


class Worktree:
    """Made for one run of the coding agent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root, self.scratch = folder / "worktree", folder / "scratch"
        self._before: Contents = {}

    @classmethod
    def begin(cls) -> "Worktree":
        """Make a folder for one. The caller removes it, even if it was not filled."""
        return cls(Path(tempfile.mkdtemp(prefix=PREFIX)))

    def fill(self, agent_source: str) -> None:
        """Fill it with the agent folder of the checkout's HEAD, and with this agent file. Raises UserError."""
        self.scratch.mkdir()
        Repository().add_worktree(self.root, str(AGENT_FILE.parent))
        write_text(self.root / AGENT_FILE, agent_source, self.root)
        write_text(self.root / "autoharness" / "agent_api.py", _API.read_text(encoding="utf-8"), self.root)

    def remember(self) -> None:
        """Remember the present files: those that the coding agent finds."""
        self._before = _contents(self.root)

    @property
    def touched(self) -> list[str]:
        """Changed files that are not the coding agent's, such as "workspace/suite.json (changed)"."""
        kinds = differences(self._before, _contents(self.root))
        return [f"{one_line(name, _LONGEST_NAME)} ({kind})" for name, kind in kinds.items() if name not in _YOURS]

    def agent_source(self) -> bytes:
        """Raises UserError if it is not a plain file, OSError if there is none."""
        return read_plain(self.root / AGENT_FILE, root=self.root)

    def text(self, name: Path) -> str:
        """The text of a file that the coding agent may have written; "" if none can be read."""
        try:
            content = read_plain(self.root / name, root=self.root)
            return printable(content.decode(errors="replace")[:_LARGEST_TEXT])
        except (OSError, UserError):
            return ""

    def remove(self) -> None:
        """Remove it. `git worktree remove` would run git in it; `prune` would forget the user's own worktrees too if
        their folders cannot be seen, as from a container."""
        remove_tree(self.folder)
        if entry := Repository().worktree_entry(self.root):
            remove_tree(entry)


def _contents(root: Path) -> Contents:
    """A digest of every file, and of what is not a plain file. Folders are read one by one: the coding agent may have
    nested them deeper than a recursion goes, or filled them."""
    found: Contents = {}
    folders, left_bytes = [root], _MOST_COMPARED_BYTES
    while folders:
        for path in _entries(folders.pop()):
            if len(found) >= _MOST_COMPARED_FILES:
                return found
            try:
                status = path.lstat()
                if stat.S_ISDIR(status.st_mode):
                    folders.append(path)
                    continue
                content = _digest(path, left_bytes)
                left_bytes -= status.st_size if content else 0
                content = content or str(status.st_size)
                found[str(path.relative_to(root))] = f"{status.st_mode:o} {content}"
            except OSError:  # its path is too long, or it cannot be read
                continue
    return found


def _digest(path: Path, most_bytes: int) -> str:
    """SHA-256 of a plain file; "" if it is not a plain file, or too large."""
    try:
        return hashlib.sha256(read_plain(path, most_bytes)).hexdigest()
    except UserError:
        return ""


def _entries(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in islice(entries, _MOST_COMPARED_FILES)]
    except OSError:
        return []
