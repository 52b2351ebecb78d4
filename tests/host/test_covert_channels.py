"""What reading leaves behind is taken away: times of access stand still after it, and all of it is in memory."""

import os
import secrets
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoharness.host import covert_channels
from autoharness.host.covert_channels import AGING, LOOKED_UP, settle

HOUR_S = 3600
PACKAGES = Path(sysconfig.get_path("purelib"))


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of all that agent hosts read: this machine's files have the times that they have."""
    folder = tmp_path / "libraries"
    folder.mkdir()
    monkeypatch.setattr(covert_channels, "_readable", lambda private: [entry.path for entry in os.scandir(folder)])
    monkeypatch.setattr(covert_channels, "_links", lambda listed: [])
    monkeypatch.setattr(covert_channels, "_links_in_proc", lambda: [])
    monkeypatch.setattr(covert_channels, "_forget_names", lambda: True)
    return folder


def _last_read(path: Path, hours_ago: float, changed_hours_ago: float = 1000) -> None:
    now = time.time()
    os.utime(path, (now - hours_ago * HOUR_S, now - changed_hours_ago * HOUR_S), follow_symlinks=False)


def _read(path: Path) -> None:
    if path.is_symlink():
        path.stat()
    elif path.is_dir():
        list(path.iterdir())
    else:
        path.read_bytes()


def _three(folder: Path) -> list[Path]:
    (folder / "file").write_text("x")
    (folder / "folder").mkdir()
    (folder / "link").symlink_to("file")
    return [folder / name for name in ("file", "folder", "link")]


@pytest.mark.parametrize("hours_ago", [1000, 23.9, 20, 1, -1], ids=lambda value: f"read-{value}-hours-ago")
@pytest.mark.parametrize("changed_hours_ago", [1000, -5], ids=["changed-before", "changed-in-the-future"])
def test_reading_does_not_show_afterwards(only: Path, hours_ago: float, changed_hours_ago: float) -> None:
    paths = _three(only)
    for path in paths:
        _last_read(path, hours_ago, changed_hours_ago)
    changed_ns = [path.lstat().st_mtime_ns for path in paths]
    time.sleep(0.02)  # a tick of the clock for times of files
    assert settle([]) == []
    settled = [path.lstat().st_atime_ns for path in paths]
    time.sleep(0.02)
    for path in paths:
        _read(path)
    assert [path.lstat().st_atime_ns for path in paths] == settled
    assert [path.lstat().st_mtime_ns for path in paths] == changed_ns
    left_s = min(settled) / 1e9 + 24 * HOUR_S - time.time()
    assert left_s > 5.9 * HOUR_S, "nor in the next hours"


def test_what_was_read_long_ago_is_read_and_not_changed(only: Path) -> None:
    """The time of a file's last change is what other programs look at."""
    (file := only / "file").write_text("x")
    _last_read(file, 1000)
    changed_ns = file.stat().st_ctime_ns
    time.sleep(0.02)
    settle([])
    assert file.stat().st_ctime_ns == changed_ns and time.time() - file.stat().st_atime < HOUR_S


def test_what_belongs_to_others_and_comes_of_age_is_said(only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    (file := only / "file").write_text("x")
    _last_read(file, 20)
    time.sleep(0.02)
    file.read_bytes()  # it was changed after it was read
    monkeypatch.setattr(covert_channels.os, "utime", refuse)  # to root, every file belongs
    assert settle([]) == []
    monkeypatch.setattr(covert_channels.time, "time_ns", lambda: int((time.time() + 20 * HOUR_S) * 1e9))
    assert settle([]) == [AGING]


@pytest.fixture
def mounted(only: Path) -> Iterator[Path]:
    if subprocess.run(["mount", "-t", "tmpfs", "none", str(only)], capture_output=True, check=False).returncode:
        pytest.skip("this account may mount nothing")
    yield only
    subprocess.run(["umount", "--lazy", str(only)], check=True)


@pytest.mark.parametrize(("option", "said"), [("strictatime", True), ("relatime", False), ("noatime", False)])
def test_a_disk_where_every_read_shows_is_found_by_trying(mounted: Path, option: str, said: bool) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(mounted)], check=True)
    (mounted / "file").write_text("x")
    time.sleep(0.02)
    lines = settle([])
    assert lines == ([covert_channels.STRICT.format(mounted)] if said else [])


@pytest.mark.slow
def test_it_reads_what_agent_hosts_can_read() -> None:
    if not os.access(PACKAGES, os.W_OK):
        pytest.skip("this account cannot write site-packages")
    folder = PACKAGES / f"test_{secrets.token_hex(8)}"
    (folder / "inside").mkdir(parents=True)
    try:
        paths = _three(folder / "inside")
        for path in paths:
            _last_read(path, 1000)
        time.sleep(0.02)
        settle([str(PACKAGES / "tau2")])
        assert all(time.time() - path.lstat().st_atime < HOUR_S for path in paths)
    finally:
        shutil.rmtree(folder)


def test_links_that_a_coding_agent_left_are_found_each_time(only: Path, tmp_path: Path) -> None:
    """In the folder of its log-in, which stays."""
    for name in ("one", "two"):
        (link := tmp_path / name).symlink_to("somewhere")
        _last_read(link, 1000)
        time.sleep(0.02)
        settle([], [], [str(tmp_path)])
        assert time.time() - link.lstat().st_atime < HOUR_S


def test_names_are_forgotten_if_this_account_can_have_that(only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    if os.access(covert_channels._DROP_CACHES, os.W_OK):
        assert covert_channels._forget_names()
    monkeypatch.setattr(covert_channels, "_readable", lambda private: [])
    monkeypatch.setattr(covert_channels, "_links", lambda listed: [])
    monkeypatch.setattr(covert_channels, "_DROP_CACHES", only / "not there" / "either")  # as for an ordinary user
    assert settle([]) == [LOOKED_UP]


def test_links_are_found_wherever_they_lie() -> None:
    found = set(covert_channels._links(())) | set(covert_channels._links_in_proc())
    assert f"/proc/{os.getpid()}/exe" in found
    assert all(Path(path).is_symlink() for path in found if path.startswith("/usr/"))
    assert [path for path in found if path.startswith("/sys/")] or not Path("/sys/class").exists()
