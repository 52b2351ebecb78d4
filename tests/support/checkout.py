"""A checkout of its own for a test, and the doors in it as a person types them."""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

from autoharness.vault.store import Store

MOCK = "domain: mock\nagent_model: offline/clerk\nmax_concurrency: 1\n"


def moved(root: Path, vault: Path) -> None:
    """Of a copy: its vault takes it for the checkout that it is tied to, moved here."""
    for tie in vault.glob("inner-*/checkout.json"):
        tie.write_text(json.dumps(json.loads(tie.read_text()) | {"place": str(root.resolve())}, indent=1))


class Checkout:
    """A small copy of this checkout with a history of its own, and a vault beside it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        self.vault = folder / "vault"

    @classmethod
    def make(cls, folder: Path, config: str = MOCK) -> "Checkout":
        checkout = cls(folder)
        for name in ("agent", "program_templates"):
            shutil.copytree(ROOT / name, checkout.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        for source in (*ROOT.glob("*.py"), ROOT / "experiment_config.yaml.template"):
            shutil.copyfile(source, checkout.root / source.name)
        (checkout.root / ".gitignore").write_text("workspace/\nexperiment_config.yaml\n__pycache__/\n")
        (checkout.root / "experiment_config.yaml").write_text(config)
        checkout.vault.mkdir()
        (checkout.vault / "secret").write_text("the order in which the gate takes tasks is the same in every test 4")
        checkout.git("init", "--quiet")
        checkout.commit()
        return checkout

    def copy(self, folder: Path) -> "Checkout":
        copy = Checkout(folder)
        shutil.copytree(self.root, copy.root)
        if self.vault.exists():
            shutil.copytree(self.vault, copy.vault)
        moved(copy.root, copy.vault)
        return copy

    @property
    def kept(self) -> Path:
        """Where the vault keeps its files."""
        return self.store.folder

    @property
    def store(self) -> Store:
        return Store(self.vault)

    @property
    def agent(self) -> Path:
        return self.root / "agent" / "agent.py"

    def run(self, door: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        ours = {"AUTOHARNESS_VAULT": str(self.vault), "PYTHONPATH": str(ROOT), "PATH": os.defpath}
        command = [sys.executable, door, *arguments]
        return subprocess.run(
            command, cwd=self.root, env=os.environ | ours | environment, capture_output=True, text=True
        )

    def type(self, line: str) -> subprocess.CompletedProcess[str]:
        """A command as documents have it: `python benchmark.py --trials 2`."""
        python, *words = shlex.split(line)
        assert python == "python"
        return self.run(*words)

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@localhost"]
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=self.root, check=True, capture_output=True, text=True).stdout

    def commit(self) -> None:
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", "start")

    def contents(self) -> dict[str, str]:
        """The digest of every file, of the vault too."""
        files = [path for root in (self.root, self.vault) for path in root.rglob("*") if path.is_file()]
        kept = [path for path in files if ".git" not in path.parts and "__pycache__" not in path.parts]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}
