"""Everything of the vault lies in a folder that nobody can guess, and a vault of an older version loses nothing."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from autoharness.core.errors import UserError
from autoharness.core.outcomes import Outcome, Status, Trial, digest
from autoharness.vault.location import FORMAT
from autoharness.vault.store import Store

Json = dict[str, Any]

KEYS: list[Json] = [{"agent": "a" * 64, "task": str(number), "seed": 7} for number in range(30)]
OLD_FILES = {
    "agents/{}.py".format("a" * 64): "# an agent",
    "evaluators/x.json": "{}",
    "runs/20261128T010203.000000-7-ab/run-001.json": "{}",
    "iterations/0001/iteration.json": "{}",
    "iterations/0002/iteration.json": "{}",
    "llm-cache/cache.db": "",
    "revealed/report.html": "",
    "ledger.jsonl": '{"kind": "x"}\n',
    "ledger.jsonl.damaged-20261128T010203": "cut short",
    "ledger.head.json": "{}",
    "holdout.jsonl": "{}\n",
    "data.json": "{}",
    "lock": "",
    "secret": "of an older version",
    "loop.json": '{"since": "then"}',
    "limits.json": "{}",
    "spending.jsonl": '{"iteration": 1}\n',
}


def _outcome(key: Json) -> Outcome:
    return Outcome(Trial(key["task"], 0, 7), Status.FAILED, 0.0, messages=[{"role": "user", "content": "x" * 500}])


def _older_vault(folder: Path) -> None:
    """As 9a969fe wrote it."""
    files = {
        f"trials/{digest(key)}.json": json.dumps({"key": key, "outcome": _outcome(key).to_json()}) for key in KEYS
    }
    for name, text in {**OLD_FILES, **files, f"trials/{'d' * 64}.damaged": "cut short"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def _in_root(vault: Path) -> list[str]:
    return sorted(path.name for path in vault.iterdir() if not path.name.startswith("inner-"))


def _check_all_is_there(store: Store) -> None:
    assert [store.find(key) for key in KEYS] == [_outcome(key) for key in KEYS]
    for name, text in OLD_FILES.items():
        assert (store.folder / name).read_text() == text
    assert [path.read_text() for path in (store.folder / "trials").glob("*.damaged")] == ["cut short"]
    assert len(store.trial_files()) == len(KEYS) and store.secret() == OLD_FILES["secret"]


def test_all_but_the_folder_of_hosts_lies_where_nobody_can_guess(tmp_path: Path) -> None:
    store, other = Store(tmp_path / "vault"), Store(tmp_path / "other")
    store.keep(KEYS[0], _outcome(KEYS[0]))
    store.keep_agent(b"# an agent")
    store.append_line("ledger.jsonl", {})
    store.count_holdout({})
    store.secret()
    store.hosts_folder()
    with store.lock():
        assert _in_root(tmp_path / "vault") == ["hosts"]
    assert len(store.folder.name) > 30 and store.folder.name != other.folder.name
    assert Store(tmp_path / "vault").folder == store.folder
    assert store.folder.stat().st_mode & 0o777 == 0o700


def test_an_older_vault_is_moved_when_it_is_opened(tmp_path: Path) -> None:
    _older_vault(tmp_path / "vault")
    _check_all_is_there(Store(tmp_path / "vault"))
    assert _in_root(tmp_path / "vault") == ["hosts"]
    _check_all_is_there(Store(tmp_path / "vault"))


def test_a_vault_of_a_later_version_is_left_alone_and_said_to_be_that(tmp_path: Path) -> None:
    store = Store(tmp_path / "vault")
    assert (store.folder / "format").read_text() == f"{FORMAT}\n"
    (store.folder / "format").write_text(f"{FORMAT + 1}\n")
    (tmp_path / "vault" / "ledger.jsonl").write_text("of an older one")
    with pytest.raises(UserError, match=rf"by a later version of auto-harness \(format {FORMAT + 1}, .*update this"):
        Store(tmp_path / "vault")
    assert (tmp_path / "vault" / "ledger.jsonl").read_text() == "of an older one"


def test_what_is_not_ours_stays_where_it_is(tmp_path: Path) -> None:
    _older_vault(tmp_path / "vault")
    (tmp_path / "vault" / "notes.txt").write_text("mine")
    Store(tmp_path / "vault")
    assert (tmp_path / "vault" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("kept", [b"", b'{"n": 1}\n', b'{"n": 1}', b'{"n": 1}\n{"n"'])
def test_a_line_is_appended_to_what_is_whole(kept: bytes, tmp_path: Path) -> None:
    store = Store(tmp_path / "vault")
    (store.folder / "ledger.jsonl").write_bytes(kept)
    store.append_line("ledger.jsonl", {"n": 2})
    whole = b'{"n": 1}\n' if kept else b""
    assert (store.folder / "ledger.jsonl").read_bytes() == whole + b'{"n": 2}\n'
    assert store.lines_written("ledger.jsonl") == (2 if kept else 1)


KILLED = """
import os, sys
from pathlib import Path
from autoharness.vault.store import Store

left, rename = int(sys.argv[2]), os.rename

def killed_at_last(*arguments, **named):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
    rename(*arguments, **named)

os.rename = killed_at_last
Store(Path(sys.argv[1]))
"""


def _open(vault: Path, renames: int) -> "subprocess.Popen[bytes]":
    """A process that opens the vault, and is killed when it has renamed so much."""
    command = [sys.executable, "-c", KILLED, str(vault), str(renames)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)


def test_killed_at_any_moment_nothing_is_lost_and_the_next_one_goes_on(tmp_path: Path) -> None:
    draw = random.Random(1)
    for number, moment in enumerate((0, 1, 5, 11)):
        vault = tmp_path / str(number)
        _older_vault(vault)
        for renames in (moment, draw.randrange(4)):
            assert _open(vault, renames).wait() == -9
        _check_all_is_there(Store(vault))
        assert _in_root(vault) == ["hosts"]


def test_two_commands_at_once_lose_nothing_and_agree(tmp_path: Path) -> None:
    for number in range(3):
        vault = tmp_path / str(number)
        _older_vault(vault)
        opening = [_open(vault, 10**6) for _ in range(3)]
        assert [one.wait() for one in opening] == [0, 0, 0]
        _check_all_is_there(Store(vault))
        assert len(list(vault.glob("inner-*"))) == 1


def test_what_an_older_version_wrote_meanwhile_is_beside_what_was_there_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vault = tmp_path / "vault"
    _older_vault(vault)
    Store(vault)
    (vault / "trials").mkdir()
    (vault / "trials" / "new.json").write_text("{}")
    (vault / "loop.json").write_text('{"since": "later"}')
    store = Store(vault)
    said = capsys.readouterr().err
    assert "loop.json was written by an older version meanwhile: kept as" in said and said.count("\n") == 1
    assert (store.folder / "trials" / "new.json").exists()
    assert (store.folder / "loop.json").read_text() == '{"since": "then"}'
    assert [path.read_text() for path in store.folder.glob("loop.json.other-*")] == ['{"since": "later"}']
    (store.folder / "trials" / "new.json").unlink()
    _check_all_is_there(store)


@pytest.mark.parametrize("lock", ["lock", "loop.lock"])
def test_an_older_vault_is_not_moved_under_a_command_that_is_at_work_on_it(lock: str, tmp_path: Path) -> None:
    """It would go on writing where nobody looks: its rows, and trials that it pays for."""
    vault = tmp_path / "vault"
    _older_vault(vault)
    code = (
        "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    )
    holding = [sys.executable, "-c", code, str(vault / lock)]
    with subprocess.Popen(holding, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as older:
        assert older.stdout and older.stdout.readline()
        before = _in_root(vault)
        with pytest.raises(UserError, match=r"a command of an older version is at work on .*: wait"):
            Store(vault)
        assert set(_in_root(vault)) == {*before, "hosts"}
        older.communicate("\n")
    _check_all_is_there(Store(vault))


@pytest.fixture
def host_process(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another command that has agent hosts."""
    code = (
        "import sys, time; from pathlib import Path; from autoharness.vault.store import Store\n"
        "folder = Store(Path(sys.argv[1])).hosts_folder(); (folder / 'x').mkdir(); print(folder, flush=True)\n"
        "sys.stdin.read()"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(tmp_path / "vault")]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_the_folder_of_hosts_is_kept_while_its_process_lives_and_removed_after_a_kill(
    tmp_path: Path, host_process: "subprocess.Popen[str]"
) -> None:
    assert host_process.stdout
    others = Path(host_process.stdout.readline().strip())
    mine = Store(tmp_path / "vault").hosts_folder()
    assert mine == Store(tmp_path / "vault").hosts_folder() != others
    assert others.parent == mine.parent == tmp_path / "vault" / "hosts" and (others / "x").is_dir()
    assert mine.stat().st_mode & 0o777 == 0o700
    host_process.kill()
    host_process.wait()
    assert others.exists()
    third = subprocess.run(
        host_process.args, env=os.environ | {"PYTHONPATH": str(ROOT)}, input="", capture_output=True
    )  # type: ignore[arg-type]
    assert third.returncode == 0 and not others.exists() and mine.exists()
    assert list((tmp_path / "vault" / "hosts").iterdir()) == [mine], "one that ended by itself left nothing"
