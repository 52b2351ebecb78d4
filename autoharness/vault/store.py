"""The vault: keeps every trial, the record of every run, and the log of every run over held-out tasks.

    hosts/X/             folders of the agent hosts of a running command
    inner-X/             all else, in a folder whose name cannot be guessed (`location`):
        trials/KEY.json         one evaluated simulation; KEY is the digest of all that its outcome depends on
        unfinished/KEY.jsonl    the conversation so far of one that has no reward yet (`call_journal`)
        claims                  locks on trials that are running (`trial_claims`)
        runs/TIME-PID-X/        run-001.json ... (resolved settings, versions, outcomes by task), worker logs
                                environment.json (the system and every package)
        agents/SHA256.py        the agent files that were run
        evaluators/SHA256.json  manifests of the code that scored and decided (`code_digest`)
        ledger.jsonl            what was scored and decided (`ledger`)
        holdout.jsonl           one line for each run over held-out tasks
        ledger.jsonl.lines holdout.jsonl.lines   how many lines were written to these
        data.json               the checksums of the task data, as prepare found it
        iterations/ loop.json limits.json spending.jsonl llm-cache/
        secret                  a random text, and secret.sha256
        trial-seeds             how seeds are drawn: those of held-out trials, and by default those of LLM calls
        left-out.json           values of settings that keys of older trials do not name (`trial_keys`)

It lies outside the checkout, mode 0700: held-out conversations must not lie where a coding agent works. A trial is
written beside and renamed, so a kill loses at most what was in flight; a file that does not parse counts as missing
and is set aside.

What it does not hide from an agent's code: that there is a vault, and about how many agent hosts are alive.
"""

import atexit
import fcntl
import hashlib
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from autoharness.core import json_lines
from autoharness.core.command_form import in_compose
from autoharness.core.errors import UserError
from autoharness.core.exhausted import line_of
from autoharness.core.files import begin_json, is_locked, locked, remove_tree, write_bytes, write_text
from autoharness.core.outcomes import Outcome, digest
from autoharness.core.settings import BY_TAU2, PER_TASK
from autoharness.vault.checkout_tie import check_tie_once
from autoharness.vault.location import HOSTS, VAULT_VARIABLE, inner_folder, named_vault
from autoharness.vault.lock_holder import holder, noted
from autoharness.vault.trial_claims import Claims

LEDGER, HEAD, HOLDOUT = "ledger.jsonl", "ledger.head.json", "holdout.jsonl"
SPENDING = "spending.jsonl"

_COUNTED = (LEDGER, HOLDOUT, SPENDING)
"""Files of lines whose number of lines is also kept in another file."""
_PUBLIC, _SECRET, _PER_TASK = "public", "secret", "per_task"
"""How a vault's seeds are drawn, by the version that began it: the last is today's."""
_RUN_TIME = "%Y%m%dT%H%M%S.%f"
_LONGEST_LOOK_S = 1.0
"""A process that asks whether it is locked holds the lock for an instant."""

Json = dict[str, Any]


def _take_entry(entries: list[Json], line: str) -> None:
    entry = json.loads(line) if json_lines.is_json(line) else None
    if isinstance(entry, dict):
        entries.append(entry)


_holdout: json_lines.Followed[list[Json]] = json_lines.Followed(lambda _: [], _take_entry)

_hosts: dict[Path, Path] = {}
"""By vault: the folder of this process's agent hosts."""


class Store:
    """The vault of one experiment."""

    def __init__(self, vault: Path) -> None:
        """Creates the folder. Raises UserError if that cannot be done."""
        try:
            (vault / HOSTS).mkdir(parents=True, exist_ok=True, mode=0o700)
            vault.chmod(0o700)
            self.folder = inner_folder(vault)
            for part in ("trials", "agents", "runs"):
                (self.folder / part).mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            found = line_of(OSError(error.errno, error.strerror, error.filename or str(vault)))
            another = "" if in_compose() else f"; or set {VAULT_VARIABLE} to another folder"
            raise UserError(f"the vault {vault} cannot be used: {found}{another}") from error
        self.vault = vault
        self._secret = ""

    # -- trials

    def find(self, key: Json) -> Outcome | None:
        """The stored outcome of the trial with this key."""
        path = self.trial_file(digest(key))
        try:
            return Outcome.from_json(json.loads(path.read_text(encoding="utf-8"))["outcome"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            path.rename(path.with_suffix(".damaged"))
            print(f"[vault] {path.name} is damaged: kept as {path.stem}.damaged, and run again", file=sys.stderr)
            return None

    def keep(self, key: Json, outcome: Outcome) -> Outcome:
        """Store an outcome; returns what is stored. An existing outcome stays, since a verdict may rest on it."""
        if known := self.find(key):
            return known
        try:
            begin_json(self.trial_file(digest(key)), {"key": key, "outcome": outcome.to_json()})
        except FileExistsError:  # another command was a moment faster
            return self.find(key) or outcome
        return outcome

    def claims(self) -> Claims:
        """Claims of one run, so that it pays for no trial that another run is working on."""
        return Claims(self.folder / "claims")

    def unfinished(self, key: Json) -> Path:
        """The file of the conversation so far, for a trial that has no reward yet: see `call_journal`."""
        return self.folder / "unfinished" / f"{digest(key)}.jsonl"

    def trial_seeds(self) -> str:
        """The secret that seeds of held-out trials are drawn from.

        "" for a vault of an earlier version, whose trials have tau2's public seeds: those are kept.
        """
        return "" if self._seeds_said() == _PUBLIC else self.secret()

    def default_seeds(self) -> str:
        """The default of the setting `seeds`: tau2's for a vault of an earlier version, whose trials have those."""
        return PER_TASK if self._seeds_said() == _PER_TASK else BY_TAU2

    def _seeds_said(self) -> str:
        marker = self.folder / "trial-seeds"
        if not marker.exists():
            with locked(self.vault):  # two commands may begin at once
                if not marker.exists():
                    write_text(marker, f"{_PUBLIC if self.trial_files() else _PER_TASK}\n")
        said = marker.read_bytes().strip().decode(errors="replace")
        if said not in (_PUBLIC, _SECRET, _PER_TASK):
            known = f"{_PUBLIC!r}, {_SECRET!r} or {_PER_TASK!r}"
            raise UserError(f"{marker} is damaged: it says {known}, whichever it was: restore it")
        return said

    def fingerprint(self, key: Json) -> tuple[str, str]:
        """A stored trial's name, and the SHA-256 of its file."""
        name = digest(key)
        return name, hashlib.sha256(self.trial_file(name).read_bytes()).hexdigest()

    def trial_file(self, name: str) -> Path:
        """`name`: the digest of the trial's key."""
        return self.folder / "trials" / f"{name}.json"

    def trial_files(self) -> list[Path]:
        return sorted((self.folder / "trials").glob("*.json"))

    # -- agent files and runs

    def keep_agent(self, source: bytes) -> str:
        """Keep an agent file under its SHA-256, and return that."""
        sha256 = hashlib.sha256(source).hexdigest()
        if not self.agent_file(sha256).exists():
            write_bytes(self.agent_file(sha256), source)
        return sha256

    def agent_file(self, sha256: str) -> Path:
        return self.folder / "agents" / f"{sha256}.py"

    def agent_source(self, sha256: str) -> str:
        """The text of a kept agent file. Raises UserError if it is gone or is not that file any more."""
        try:
            source = self.agent_file(sha256).read_bytes()
        except OSError as error:
            raise UserError(f"{self.agent_file(sha256)}: {error.strerror}; restore it from git") from error
        if hashlib.sha256(source).hexdigest() != sha256:
            raise UserError(f"{self.agent_file(sha256)} is not the file that was run; restore it from git")
        return source.decode()

    def new_run(self) -> Path:
        """A new folder for one run. The newest has the last name, even after the clock was set back."""
        begun = datetime.now(UTC)
        with suppress(ValueError):  # there is none yet, or its name is not one of ours
            newest = max(path.name for path in (self.folder / "runs").iterdir()).partition("-")[0]
            begun = max(begun, datetime.strptime(newest, _RUN_TIME).replace(tzinfo=UTC) + timedelta(microseconds=1))
        run = self.folder / "runs" / f"{begun:{_RUN_TIME}}-{os.getpid()}-{secrets.token_hex(8)}"
        run.mkdir(mode=0o700)
        return run

    def runs(self, newest: int | None = None) -> Iterator[Json]:
        """The record of every run, or of the `newest` ones, oldest first."""
        names = sorted((path.name for path in (self.folder / "runs").iterdir()), reverse=True)
        folders = (self.folder / "runs" / name for name in names)
        paths = (path for folder in folders for path in sorted(folder.glob("run-*.json"), reverse=True))
        for path in reversed(list(islice(paths, newest))):
            try:
                run = json.loads(path.read_text(encoding="utf-8"))
            except (ValueError, RecursionError):
                run = None
            if isinstance(run, dict):
                yield run

    def hosts_folder(self) -> Path:
        """The folder for the folders of this process's agent hosts; the same each time.

        Its name does not tell when it was made. This process holds a lock on it until it ends, and what killed
        processes have left is removed here. An agent host sees this folder's path, and so how many folders lie
        beside its own.
        """
        root = self.vault / HOSTS
        if root not in _hosts or not _hosts[root].exists():
            with locked(root):  # otherwise one that is not locked yet would be taken for a leftover
                for left in root.iterdir():
                    if not is_locked(left):
                        remove_tree(left)
                _hosts[root] = Path(tempfile.mkdtemp(dir=root, prefix=""))
                fcntl.flock(os.open(_hosts[root], os.O_RDONLY), fcntl.LOCK_EX)
            atexit.register(remove_tree, _hosts[root])
        return _hosts[root]

    # -- files of lines

    def count_holdout(self, entry: Json) -> None:
        self.append_line(HOLDOUT, {"time": now(), **entry})

    def append_line(self, name: str, value: Json) -> None:
        """Append one JSON line to a file of the vault; it replaces a last line that a kill cut short."""
        path = self.folder / name
        with json_lines.alone(path) as file:
            before = json_lines.count(path) if name in _COUNTED else 0
            json_lines.append(path, file, value)
            if name in _COUNTED:
                self._note_lines(name, 1 + max(before, self.lines_written(name)))

    def read_lines(self, name: str) -> list[str]:
        """The whole lines of a file of the vault; the last one counts as whole if only its line end is missing."""
        return json_lines.read(self.folder / name)

    def replace_lines(self, name: str, lines: list[str]) -> Path:
        """Copy a file of the vault aside, and replace its lines by these; returns the copy's path."""
        path, aside = self.folder / name, self.folder / f"{name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        if aside.exists():  # the clock was set back
            aside = aside.with_name(f"{aside.name}-{secrets.token_hex(4)}")
        write_bytes(aside, path.read_bytes() if path.exists() else b"")
        write_text(path, "".join(f"{line}\n" for line in lines))
        if name in _COUNTED:
            self._note_lines(name, len(lines))
        return aside

    def lines_written(self, name: str) -> int:
        """How many lines such a file had, even if they are gone now; 0 if nobody counted."""
        try:
            return int((self.folder / f"{name}.lines").read_text())
        except (OSError, ValueError):
            return 0

    def _note_lines(self, name: str, lines: int) -> None:
        write_text(self.folder / f"{name}.lines", str(lines))

    def reveals(self, domain: str) -> int:
        """How often single held-out results of the domain were shown."""
        return sum(bool(entry.get("revealed")) for entry in self.holdout_log(domain))

    def runs_by_hand(self, domain: str) -> int:
        """How often held-out tasks of the domain were run by other commands than those that decide."""
        return sum(entry.get("command") in ("benchmark.py", "python") for entry in self.holdout_log(domain))

    def holdout_log(self, domain: str | None = None) -> list[Json]:
        """A line for each run over held-out tasks: {"time", "command", "split", "tasks", "of", "revealed"}."""
        entries = _holdout.of(self.folder / HOLDOUT)
        return [entry for entry in entries if domain in (None, entry.get("domain"))]

    # -- secret and id of this vault

    def secret(self) -> str:
        """A random text of this vault."""
        if not self._secret:
            file = self.folder / "secret"
            if not file.exists():
                with locked(self.vault):  # two commands may begin at once
                    if not file.exists():
                        write_text(file, secrets.token_hex(16))
                        file.chmod(0o600)
            self._secret = file.read_bytes().decode(errors="replace")
            self._check_secret(file)
        return self._secret

    def _check_secret(self, file: Path) -> None:
        """Raises UserError if the secret has changed: seeds are drawn from it, and so trials depend on it."""
        noted, found = file.with_name("secret.sha256"), hashlib.sha256(self._secret.encode()).hexdigest()
        if not noted.exists():
            with suppress(OSError):  # read-only
                write_text(noted, f"{found}\n")
        elif noted.read_text(errors="replace").strip() != found:
            raise UserError(f"{file} is not what it was: restore it; {noted.name} has the SHA-256 of the right one")
        if not self._secret:
            raise UserError(f"{file} is empty: restore it")

    @property
    def id(self) -> str:
        """Identifies this vault in the message of a commit. It does not give the secret away."""
        return digest(["vault", self.secret()])[:16]

    # -- locks

    @contextmanager
    def lock(self, name: str = "lock") -> Iterator[None]:
        """One writer of the ledger at a time. The kernel unlocks it when the process ends, however that happens.

        `name`: the lock's name. Raises UserError if somebody holds it.
        """
        with (self.folder / name).open("a+") as file:
            until = time.monotonic() + _LONGEST_LOOK_S
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise UserError(
                            f"another command is at work on {self.vault}{holder(file)}: wait until it has ended"
                        ) from None
                    time.sleep(0.02)
            with noted(file):
                yield

    def is_locked(self, name: str = "lock") -> bool:
        """Whether a command is at work on it, in whichever container."""
        return is_locked(self.folder / name)


def default_vault() -> Path:
    """The vault of the checkout in the working folder. Raises UserError if the two are not tied to each other."""
    vault = named_vault()
    check_tie_once(vault)
    return vault


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
