"""A disk of a few megabytes, to be filled: a tmpfs in its own mount namespace, as root or as a user."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

_HERE = Path(__file__).resolve().parent
_VARIABLE = "AUTOHARNESS_TEST_NAMESPACE"
NAMESPACES = (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"])
"""The second is for users; where a container keeps both from us there is none."""
_CHUNK_BYTES = 64 * 1024


def namespace() -> list[str]:
    """The command that runs another one in a mount namespace of its own; [] if this machine gives none."""
    for command in NAMESPACES:
        with suppress(OSError):
            tried = [*command, "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"]
            if subprocess.run(tried, capture_output=True).returncode == 0:
                return command
    return []


def in_a_namespace() -> list[str]:
    """Start this program over in a mount namespace of its own, unless that was done; [] if there is none."""
    if _VARIABLE not in os.environ and (command := namespace()):
        os.environ[_VARIABLE] = command[0]
        os.execvp(command[0], [*command, sys.executable, *sys.argv])
    return [os.environ[_VARIABLE]] if _VARIABLE in os.environ else []


def on_a_disk(folder: Path, megabytes: int, script: str, **how: Any) -> "subprocess.CompletedProcess[str]":
    """Run a script in a process of its own, with `disk` at the folder. Skips the test if there can be none."""
    if not (command := namespace()):
        pytest.skip("this machine gives no mount namespace, even to a user namespace: no small disk")
    begin = f"""
import sys
sys.path[:0] = [{str(_HERE)!r}, {str(_HERE.parents[1])!r}]
from pathlib import Path
from small_disk import Disk
with Disk.mounted(Path({str(folder)!r}), {megabytes}) as disk:
"""
    program = begin + textwrap.indent(script, "    ")
    return subprocess.run([*command, sys.executable, "-c", program], capture_output=True, text=True, **how)


class Disk:
    """A small one, at a folder. Only in its own namespace: it goes away with that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    @contextmanager
    def mounted(cls, folder: Path, megabytes: int) -> Iterator["Disk"]:
        folder.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True)
        try:
            yield cls(folder)
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)

    def be_written(self, allowed: bool) -> None:
        options = f"remount,bind,{'rw' if allowed else 'ro'}"  # a user namespace may do no more than that
        subprocess.run(["mount", "-o", options, str(self.folder)], check=True)

    @contextmanager
    def filled(self) -> Iterator[Callable[[], None]]:
        """To its last byte while the block runs; what is called fills what became free meanwhile."""
        filler = self.folder / "filler"

        def fill() -> None:
            with suppress(OSError), filler.open("ab", buffering=0) as file:
                while file.write(b"x" * _CHUNK_BYTES):
                    pass

        fill()
        try:
            yield fill
        finally:
            filler.unlink()
