"""A night in small: prepare, gate, record, headline, each by its own command, in a checkout of its own.

The tree that is measured may be another one than this file's: `Tree(Path("..."))`. What is read of it is what its
commands print.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from checkout import moved

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
AGENTS = HERE / "cheats"
_UNDECIDED = 2
_MOST_TIMES = 6


@dataclass(frozen=True)
class Tree:
    """A clone of the project."""

    root: Path

    @property
    def python(self) -> str:
        own = self.root / ".venv" / "bin" / "python"
        return str(own) if own.exists() else sys.executable

    @property
    def commit(self) -> str:
        command = ["git", "rev-parse", "--short", "HEAD"]
        return subprocess.run(command, cwd=self.root, capture_output=True, text=True).stdout.strip() or "no git"


@dataclass(frozen=True)
class Printed:
    """What a command said."""

    code: int
    out: str
    err: str

    def line(self, name: str) -> str:
        """What stands behind `name: `; "" where no line begins so."""
        found = re.search(rf"^{re.escape(name)}: (.*)$", self.out, re.MULTILINE)
        return found[1] if found else ""

    @property
    def refused(self) -> str:
        """The first line that the scan of edits refuses; "" where it let the edit through."""
        found = re.search(r"^reason: (line \d+ .*)$", self.out, re.MULTILINE)
        return found[1] if found else ""


class Checkout:
    """A checkout of the tree, with a vault beside it."""

    def __init__(self, tree: Tree, folder: Path) -> None:
        self.tree, self.root, self.vault = tree, folder / "checkout", folder / "vault"

    @classmethod
    def make(cls, tree: Tree, folder: Path, config: str, agent: str, *modules: Path) -> "Checkout":
        """`modules`: files that stand beside the doors."""
        made = cls(tree, folder)
        for name in ("agent", "program_templates"):
            shutil.copytree(tree.root / name, made.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        for source in (*tree.root.glob("*.py"), tree.root / "experiment_config.yaml.template", *modules):
            shutil.copyfile(source, made.root / source.name)
        (made.root / ".gitignore").write_text("workspace/\nexperiment_config.yaml\n__pycache__/\n")
        (made.root / "experiment_config.yaml").write_text(config)
        made.agent.write_text(agent)
        made.vault.mkdir()
        made._git("init", "--quiet")
        made._git("add", ".")
        made._git("commit", "--quiet", "--message", "start")
        return made

    def copy(self, folder: Path) -> "Checkout":
        made = Checkout(self.tree, folder)
        shutil.copytree(self.root, made.root)
        shutil.copytree(self.vault, made.vault)
        moved(made.root, made.vault)
        return made

    @property
    def agent(self) -> Path:
        return self.root / "agent" / "agent.py"

    def run(self, door: str, *arguments: str) -> Printed:
        kept = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_API_BASE"))}
        ours = {
            "AUTOHARNESS_VAULT": str(self.vault),
            "PYTHONPATH": str(self.tree.root),
            "MODEL_SERVER_KEY": "a-key",
            "GIT_AUTHOR_NAME": "somebody",
            "GIT_AUTHOR_EMAIL": "somebody@localhost",
            "GIT_COMMITTER_NAME": "somebody",
            "GIT_COMMITTER_EMAIL": "somebody@localhost",
        }
        command = [self.tree.python, door, *arguments]
        done = subprocess.run(command, cwd=self.root, env=kept | ours, capture_output=True, text=True)
        return Printed(done.returncode, done.stdout, done.stderr)

    def until_decided(self, *command: str) -> Printed:
        """Commands that stay undecided say that the same command goes on; this runs it again."""
        for _ in range(_MOST_TIMES):
            printed = self.run(*command)
            if printed.code != _UNDECIDED:
                break
        return printed

    def _git(self, *arguments: str) -> None:
        identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@localhost"]
        subprocess.run(["git", *identity, *arguments], cwd=self.root, check=True, capture_output=True)


def source(*names: str) -> str:
    """An agent file: the coin, and behind it what these do otherwise."""
    return "\n\n".join((AGENTS / f"{name}.py").read_text() for name in dict.fromkeys(("coin", *names)))
