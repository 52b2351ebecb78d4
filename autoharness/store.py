"""The vault: every trial that was run, what each run consisted of, and every question that was asked of the holdout.

    trials/KEY.json      one evaluated simulation; KEY is the digest of all that its outcome depends on
    agents/SHA256.py     the agent files that were run
    runs/TIME-PID/       run-001.json ... (resolved settings, versions, outcomes by task), worker logs
                         environment.json (the system and every package)
    holdout.jsonl        one line for each run over held-out tasks
    ledger.jsonl         what was measured and decided (`ledger`)
    evaluators/SHA256.json  the code that measured and decided (`evaluator`)
    data.json            the checksums of the task data, as prepare found it

It lies outside the checkout, mode 0700: held-out conversations must not lie where a coding agent works. A trial is
written beside and renamed, so a kill loses at most what was in flight; a file that does not parse counts as missing
and is set aside.
"""

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from autoharness.errors import UserError
from autoharness.results import Outcome, digest

VAULT_VARIABLE = "AUTOHARNESS_VAULT"

_MOST_AGENT_BYTES = 1_000_000
_LONGEST_LOOK_S = 1.0
"""Whoever asks whether it is locked holds the lock for an instant."""

Json = dict[str, Any]


class Store:
    """The vault of one experiment."""

    def __init__(self, folder: Path) -> None:
        """Creates the folder. Raises UserError where that cannot be done."""
        self.folder = folder
        try:
            for part in ("trials", "agents", "runs"):
                (folder / part).mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)
        except OSError as error:
            raise UserError(f"the vault {folder} cannot be used ({error.strerror}): set {VAULT_VARIABLE}") from error

    def find(self, key: Json) -> Outcome | None:
        """The stored outcome of the trial with this key."""
        path = self._trial(key)
        try:
            return Outcome.from_json(json.loads(path.read_text(encoding="utf-8"))["outcome"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            path.rename(path.with_suffix(".damaged"))
            return None

    def keep(self, key: Json, outcome: Outcome) -> Outcome:
        """What is stored then: an outcome that is there already stays, since a verdict may rest on it."""
        if known := self.find(key):
            return known
        write_json(self._trial(key), {"key": key, "outcome": outcome.to_json()})
        return outcome

    def fingerprint(self, key: Json) -> tuple[str, str]:
        """A stored trial's name, and the SHA-256 of its file."""
        path = self._trial(key)
        return path.stem, hashlib.sha256(path.read_bytes()).hexdigest()

    def keep_agent(self, source: bytes) -> str:
        """Keeps an agent file under its SHA-256, which it returns."""
        sha256 = hashlib.sha256(source).hexdigest()
        if not self.agent_file(sha256).exists():
            _write(self.agent_file(sha256), source)
        return sha256

    def agent_file(self, sha256: str) -> Path:
        return self.folder / "agents" / f"{sha256}.py"

    def agent_source(self, sha256: str) -> str:
        """The text of a kept agent file. Raises UserError where it is gone or is not that file any more."""
        try:
            source = self.agent_file(sha256).read_bytes()
        except OSError as error:
            raise UserError(f"{self.agent_file(sha256)}: {error.strerror}; restore it from git") from error
        if hashlib.sha256(source).hexdigest() != sha256:
            raise UserError(f"{self.agent_file(sha256)} is not the file that was run; restore it from git")
        return source.decode()

    def new_run(self) -> Path:
        """A fresh folder for one run."""
        run = self.folder / "runs" / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{os.getpid()}"
        run.mkdir(mode=0o700)
        return run

    def runs(self, newest: int | None = None) -> Iterator[Json]:
        """What is written of every run, or of the newest so many, oldest first."""
        paths = sorted((self.folder / "runs").glob("*/run-*.json"))
        for path in paths[-newest:] if newest else paths:
            try:
                run = json.loads(path.read_text(encoding="utf-8"))
            except (ValueError, RecursionError):
                run = None
            if isinstance(run, dict):
                yield run

    def count_holdout(self, entry: Json) -> None:
        self.append_line("holdout.jsonl", {"time": now(), **entry})

    def append_line(self, name: str, value: Json) -> None:
        """Append one JSON line to a file of the vault, in place of one that a kill cut short."""
        with (self.folder / name).open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # another command may be about to
            file.seek(0)
            content = file.read()
            last = content.rpartition(b"\n")[2]
            if _is_json(last.decode(errors="replace")):
                file.write(b"\n")  # only its end was missing
            else:
                file.truncate(len(content) - len(last))
            file.write(json.dumps(value).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def read_lines(self, name: str) -> list[str]:
        """The whole lines of a file of the vault; the last one is whole too where only its end is missing."""
        try:
            *lines, last = (self.folder / name).read_bytes().decode(errors="replace").split("\n")
        except FileNotFoundError:
            return []
        return [*lines, last] if _is_json(last) else lines

    def replace_lines(self, name: str, lines: list[str]) -> Path:
        """Keep a copy of a file of the vault, and leave these lines in it; returns where the copy is."""
        aside = self.folder / f"{name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        _write(aside, (self.folder / name).read_bytes() if (self.folder / name).exists() else b"")
        write_text(self.folder / name, "".join(f"{line}\n" for line in lines))
        return aside

    def secret(self) -> str:
        """A random text of this vault."""
        path = self.folder / "secret"
        if not path.exists():
            write_text(path, secrets.token_hex(16))
            path.chmod(0o600)
        return path.read_text()

    def reveals(self, domain: str) -> int:
        """How often single held-out results of the domain were shown."""
        return sum(bool(entry.get("revealed")) for entry in self.holdout_log(domain))

    def runs_by_hand(self, domain: str) -> int:
        """How often held-out tasks of the domain were run by other commands than those that decide."""
        return sum(entry.get("command") in ("benchmark.py", "python") for entry in self.holdout_log(domain))

    def holdout_log(self, domain: str) -> list[Json]:
        """A line for each run over held-out tasks: {"time", "command", "split", "tasks", "of", "revealed"}."""
        entries = [json.loads(line) for line in self.read_lines("holdout.jsonl") if _is_json(line)]
        return [entry for entry in entries if isinstance(entry, dict) and entry.get("domain") == domain]

    @contextmanager
    def lock(self, name: str = "lock") -> Iterator[None]:
        """One writer of the ledger at a time. The kernel unlocks it when the process ends, however that happens.

        `name`: another lock than that. Raises UserError where somebody holds it.
        """
        with (self.folder / name).open("w") as file:
            until = time.monotonic() + _LONGEST_LOOK_S
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise UserError(
                            f"another command is at work on {self.folder}: wait until it has ended"
                        ) from None
                    time.sleep(0.02)
            yield

    def is_locked(self, name: str = "lock") -> bool:
        """Whether a command is at work on it, in whichever container."""
        with (self.folder / name).open("a") as file:
            return is_held(file.fileno())

    def _trial(self, key: Json) -> Path:
        return self.folder / "trials" / f"{digest(key)}.json"


def is_held(descriptor: int) -> bool:
    """Whether another process has locked what this descriptor is of."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def default_vault() -> Path:
    """`$AUTOHARNESS_VAULT`, else a folder of this checkout's own under the user's state folder."""
    named, checkout = os.environ.get(VAULT_VARIABLE), Path.cwd().resolve()
    if named:
        vault = Path(named).expanduser().absolute()
        if vault.resolve().is_relative_to(checkout):
            raise UserError(f"{VAULT_VARIABLE}: {vault} lies inside the checkout, where a coding agent works")
        return vault
    experiment_id = f"{checkout.name}-{hashlib.sha256(str(checkout).encode()).hexdigest()[:8]}"
    return Path.home() / ".local" / "state" / "auto-harness" / experiment_id


def read_agent(path: Path, most_bytes: int = _MOST_AGENT_BYTES) -> bytes:
    """An agent file as it is, or another one that code we do not trust may have put there.

    Raises OSError, and UserError for what is no file of its own or too large.
    """
    if not path.is_symlink():
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe must not keep us waiting
        try:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_size <= most_bytes:
                with open(descriptor, "rb", closefd=False) as file:
                    return file.read(most_bytes)
        finally:
            os.close(descriptor)
    most = f"{most_bytes // 1_000_000} MB"
    raise UserError(
        f"{path} is a symbolic link, a hard link, a pipe, a device or over {most}: put a plain file of its own there"
    )


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1))


def write_text(path: Path, text: str) -> None:
    """Write beside, then rename: a reader sees the old file or the new one, whenever we are killed."""
    _write(path, text.encode())


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` once the block has ended without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    try:
        with os.fdopen(descriptor, "w+b") as file:
            os.fchmod(descriptor, 0o644)
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def remove_tree(folder: Path) -> None:
    """Remove a folder that code we do not trust wrote in."""
    with suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():  # nested deeper than Python follows, or closed even to us
        subprocess.run(["/bin/chmod", "-R", "u+rwX", "--", str(folder)], check=False)
        subprocess.run(["/bin/rm", "-rf", "--", str(folder)], check=False)
