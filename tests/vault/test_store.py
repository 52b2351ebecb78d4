"""The vault keeps what was paid for, whatever happens in the middle of a write."""

import json
import os
import re
import socket
import stat
import sys
import threading
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoharness.core.command_form import COMMAND_VARIABLE
from autoharness.core.errors import UserError
from autoharness.core.files import write_json, write_text
from autoharness.core.outcomes import Outcome, Status, Trial, Usage
from autoharness.vault.store import Store, default_vault

KEY = {"task": "0", "seed": 1, "models": {"agent": "a", "user": "u"}}
OUTCOME = Outcome(
    Trial("0", 0, 1),
    Status.FAILED,
    0.0,
    messages=[{"role": "user", "content": "Zürich\n"}],
    usage={"agent": Usage(calls=2, cost_usd=0.5)},
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "vault")


def _only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_finds_what_was_kept_whatever_the_order_of_the_keys(store: Store) -> None:
    store.keep(KEY, OUTCOME)
    assert store.find(dict(reversed(KEY.items()))) == OUTCOME
    assert Store(store.vault).find(KEY) == OUTCOME


def test_another_key_is_another_trial(store: Store) -> None:
    store.keep(KEY, OUTCOME)
    assert store.find(KEY | {"seed": 2}) is None


@settings(deadline=None)
@given(st.data())
def test_a_truncated_trial_counts_as_missing_and_is_set_aside(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    store = Store(tmp_path_factory.mktemp("vault"))
    store.keep(KEY, OUTCOME)
    path = _only_file(store.folder / "trials")
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole.rstrip()) - 1))])
    assert store.find(KEY) is None
    assert _only_file(store.folder / "trials") == path.with_suffix(".damaged")
    store.keep(KEY, OUTCOME)
    assert store.find(KEY) == OUTCOME


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"outcome": 1}',
        b'{"outcome": {"trial": {}}}',
        b'{"outcome": {"usage": 1}}',
    ],
    ids=["binary", "null", "list", "empty", "number", "no-trial", "no-usage"],
)
def test_a_trial_that_says_something_else_counts_as_missing(store: Store, content: bytes) -> None:
    store.keep(KEY, OUTCOME)
    path = _only_file(store.folder / "trials")
    path.write_bytes(content)
    assert store.find(KEY) is None
    assert path.with_suffix(".damaged").read_bytes() == content


def test_what_a_killed_write_leaves_behind_is_not_seen(store: Store) -> None:
    store.keep(KEY, OUTCOME)
    path = _only_file(store.folder / "trials")
    half = path.read_text()[:50]
    path.with_name(f".{path.name}.abcdef").write_text(half)
    assert store.find(KEY) == OUTCOME
    path.unlink()
    assert store.find(KEY) is None
    (store.new_run() / ".run-001.json.abcdef").write_text(half)
    assert list(store.runs()) == []


def test_only_its_owner_may_look_into_a_vault_old_or_new(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir(mode=0o755)
    for folder in (old, tmp_path / "new" / "vault"):
        assert stat.S_IMODE(Store(folder).vault.stat().st_mode) == 0o700


def test_a_vault_that_cannot_be_made_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/vault cannot be used: .*; or set AUTOHARNESS_VAULT"):
        Store(tmp_path / "file" / "vault")


def test_an_agent_file_is_kept_under_its_hash(store: Store) -> None:
    for source in ("print('ä')\n", "print('ä')\n", "pass\n"):
        store.keep_agent(source.encode())
        assert ((store.folder / "agents") / f"{sha256(source.encode()).hexdigest()}.py").read_text() == source
    assert len(list((store.folder / "agents").iterdir())) == 2


def test_runs_come_oldest_first_and_damaged_ones_are_left_out(store: Store) -> None:
    folders = [store.new_run() for _ in range(4)]
    for number, folder in enumerate(folders):
        write_json(folder / "run-001.json", {"number": number})
    (folders[1] / "run-001.json").write_text('{"number": ')
    (folders[2] / "run-001.json").unlink()  # killed before it was written
    assert [run["number"] for run in store.runs()] == [0, 3]
    assert (folders[1] / "run-001.json").exists(), "a reader renames nothing"


@pytest.mark.parametrize("newest", ["29990101T000000.000000-7-ab", "29990101T000000.999999-7"], ids=["new", "old"])
def test_after_the_clock_was_set_back_the_newest_run_comes_last(store: Store, newest: str) -> None:
    """`--failed` runs what failed in the newest."""
    write_json(store.folder / "runs" / newest / "run-001.json", {"number": 1})
    for number in (2, 3):
        write_json(store.new_run() / "run-001.json", {"number": number})
    assert [run["number"] for run in store.runs()] == [1, 2, 3]
    assert [run["number"] for run in store.runs(newest=1)] == [3]


def test_every_question_to_the_holdout_adds_a_line(store: Store) -> None:
    entries: list[dict[str, Any]] = [{"tasks": 40, "revealed": False}, {"tasks": 1, "revealed": True}]
    for entry in entries:
        Store(store.vault).count_holdout(entry)
    lines = [json.loads(line) for line in (store.folder / "holdout.jsonl").read_text().splitlines()]
    assert [{"tasks": line["tasks"], "revealed": line["revealed"]} for line in lines] == entries
    assert all(line["time"] for line in lines)


def test_a_line_comes_after_the_whole_ones_wherever_a_kill_cut_the_last_one(store: Store) -> None:
    path, lines = store.folder / "lines", [{"n": 1}, {"n": 2, "text": "Zürich"}]
    for line in lines:
        store.append_line("lines", line)
    written = path.read_bytes()
    for cut in range(len(written) + 1):
        path.write_bytes(written[:cut])
        whole = [json.loads(line) for line in store.read_lines("lines") if line]
        store.append_line("lines", {"n": 3})
        assert [json.loads(line) for line in path.read_text().splitlines()] == [*whole, {"n": 3}]
        assert whole == lines[: len(whole)]
    assert whole == lines


def test_the_vault_is_the_one_that_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AUTOHARNESS_VAULT", "~/mine")
    assert default_vault() == tmp_path / "mine"


def test_each_checkout_has_a_vault_of_its_own_outside_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOHARNESS_VAULT")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    vaults = []
    for name in ("a", "b", "a"):
        checkout = tmp_path / name / "auto-harness"
        checkout.mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(checkout)
        vaults.append(default_vault())
    assert vaults[0] == vaults[2] != vaults[1]
    assert all(vault.parent == tmp_path / "home/.local/state/auto-harness" for vault in vaults)


@settings(deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=3))
def test_a_written_text_is_there_as_it_was_and_alone(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("written") / "folder" / ("long-name" * 20)
    for text in texts:
        write_text(path, text)
    assert path.read_bytes() == texts[-1].encode()
    assert _only_file(path.parent) == path


def test_a_write_that_raises_leaves_the_old_text_and_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new" * 100_000 + "\ud800")
    assert path.read_text() == "old"
    assert _only_file(tmp_path) == path


def test_a_reader_sees_the_old_text_or_the_new_one_at_any_time(tmp_path: Path) -> None:
    path, texts = tmp_path / "file", ("a" * 1_000_000, "b" * 1_000_000)
    write_text(path, texts[0])

    def write() -> None:
        for number in range(20):
            write_text(path, texts[number % 2])

    writer = threading.Thread(target=write)
    writer.start()
    seen = {path.read_text()}
    while writer.is_alive():
        seen.add(path.read_text())
    writer.join()
    assert seen <= set(texts)


def test_asking_whether_it_is_locked_keeps_nobody_from_locking_it(store: Store) -> None:
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            store.is_locked()

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(50):
            with store.lock():
                assert store.is_locked()
    finally:
        done.set()
        for looker in lookers:
            looker.join()


def test_one_lock_says_nothing_of_another(store: Store) -> None:
    with store.lock("loop.lock"):
        assert store.is_locked("loop.lock") and not store.is_locked()
        with store.lock(), pytest.raises(UserError, match="another command is at work"), store.lock("loop.lock"):
            pass


@pytest.mark.parametrize(
    ("environment", "ends"),
    [({}, f"kill {os.getpid()}"), ({COMMAND_VARIABLE: "docker compose run --rm autoeval python"}, "docker stop ")],
    ids=["plain", "compose"],
)
def test_a_lock_that_is_taken_says_by_whom_and_what_ends_that_command(
    store: Store, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], ends: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["gating.py"])
    end = re.escape(ends + (socket.gethostname() if environment else ""))
    with store.lock(), pytest.raises(UserError, match=rf"\(gating.py since .*; to end it: {end}\)"), store.lock():
        pass
    assert not (store.folder / "lock").read_text()
    (store.folder / "lock").write_text("[cut short by a kill")
    with store.lock():
        pass


def test_a_field_of_a_later_version_is_passed_over_and_the_trial_is_not_paid_for_again(store: Store) -> None:
    """On 9a969fe such a trial was renamed to .damaged without a word, and run again."""
    store.keep(KEY, OUTCOME)
    path = _only_file(store.folder / "trials")
    document = json.loads(path.read_text())
    document["outcome"] |= {"mood": "calm", "trial": document["outcome"]["trial"] | {"mood": 1}}
    document["outcome"]["usage"] = {"agent": {"calls": 1, "mood": 2}}
    path.write_text(json.dumps({**document, "mood": 3}))
    found = store.find(KEY)
    assert (
        found and (found.trial, found.reward) == (OUTCOME.trial, OUTCOME.reward) and found.usage["agent"].calls == 1
    )
    assert _only_file(store.folder / "trials") == path


def test_a_damaged_trial_is_set_aside_and_that_is_said(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.keep(KEY, OUTCOME)
    path = _only_file(store.folder / "trials")
    path.write_text("cut sho")
    assert store.find(KEY) is None
    assert f"{path.stem}.damaged, and run again" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["secret", "trial-seeds"])
@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"another"])
def test_what_seeds_are_drawn_from_is_missed_where_it_is_damaged(store: Store, name: str, content: bytes) -> None:
    """On 9a969fe held-out trials were run, and paid for, once more, without a word."""
    assert store.trial_seeds()
    (store.folder / name).write_bytes(content)
    with pytest.raises(UserError, match="restore it"):
        Store(store.vault).trial_seeds()
