"""Below its root no link is followed, neither in reading nor in writing, also where one comes at the last moment."""

import errno
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from autoharness.core.errors import NotPlain, UserError
from autoharness.core.files import (
    Remembered,
    append_text,
    begin_json,
    differences,
    read_end,
    read_plain,
    read_text,
    remove_tree,
    set_aside,
    write_text,
)

SECRET = "what the vault holds"
TRIES = 4000


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that must not be read or changed, beside a checkout, which is the working folder."""
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / "file").write_text(SECRET)
    (tmp_path / "checkout" / "workspace" / "in").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "checkout")
    return tmp_path / "vault" / "file"


def _link(secret: Path) -> Path:
    path = Path("workspace/file")
    path.symlink_to(secret)
    return path


def _hard_link(secret: Path) -> Path:
    path = Path("workspace/file")
    path.hardlink_to(secret)
    return path


def _folder_that_is_a_link(secret: Path) -> Path:
    Path("workspace/linked").symlink_to(secret.parent)
    return Path("workspace/linked/file")


def _far_above(secret: Path) -> Path:
    Path("workspace").rename("elsewhere")
    Path("workspace").symlink_to(secret.parent)
    return Path("workspace/file")


def _link_to_the_checkout_itself(secret: Path) -> Path:
    Path("workspace/in/here").symlink_to(Path.cwd())
    Path("file").write_text(SECRET)
    return Path("workspace/in/here/file")


def _pipe(secret: Path) -> Path:
    os.mkfifo("workspace/file")
    return Path("workspace/file")


def _socket(secret: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("workspace/file")
    return Path("workspace/file")


def _folder(secret: Path) -> Path:
    return Path("workspace/in")


def _no_folder(secret: Path) -> Path:
    Path("workspace/plain").write_text("")
    return Path("workspace/plain/file")


def _huge(secret: Path) -> Path:
    with Path("workspace/file").open("wb") as file:
        file.truncate(10**12)
    return Path("workspace/file")


PLANTED = [
    *(_link, _hard_link, _folder_that_is_a_link, _far_above, _link_to_the_checkout_itself),
    *(_pipe, _socket, _folder, _no_folder, _huge),
]
each_planted = pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__.strip("_"))


@each_planted
@pytest.mark.parametrize("read", [read_text, read_plain], ids=["text", "agent"])
def test_what_is_no_plain_file_is_not_read(
    secret: Path, plant: Callable[[Path], Path], read: Callable[[Path], object]
) -> None:
    path = plant(secret)
    with pytest.raises(UserError, match=r"workspace\S* is a symbolic link"):
        read(path)
    with pytest.raises(UserError):
        read_plain(Path.cwd() / path, 1_000_000, Path.cwd())


def test_a_device_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(NotPlain):
        read_text(Path("/dev/zero"))


@each_planted
def test_nothing_is_written_beyond_a_link(secret: Path, plant: Callable[[Path], Path]) -> None:
    path = plant(secret)
    try:
        write_text(path, "ours")
    except (UserError, IsADirectoryError):
        pass
    else:
        assert not path.is_symlink() and path.read_text() == "ours"
    assert secret.read_text() == SECRET and list(secret.parent.iterdir()) == [secret]
    assert not [path for path in Path().rglob(".*") if path.is_file()], "nor is anything left beside it"


@each_planted
def test_what_is_set_aside_is_the_link_itself(secret: Path, plant: Callable[[Path], Path]) -> None:
    path = plant(secret)
    was = path.lstat().st_ino if path.parent == Path("workspace") and not path.parent.is_symlink() else None
    if was is None:
        with pytest.raises(UserError):
            set_aside(path)
    else:
        assert set_aside(path).lstat().st_ino == was
    assert secret.read_text() == SECRET


@contextmanager
def _swapping(*turns: Callable[[], None]) -> Iterator[None]:
    """Does one after the other, again and again, while the block runs."""
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            for turn in turns:
                turn()

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        yield
    finally:
        done.set()
        swapper.join()


def _to_and_fro(path: Path, target: Path) -> list[Callable[[], None]]:
    """A plain file or folder, and a link in its place, as often as can be."""
    plain, link = path.with_name("was"), path.with_name("link")
    link.symlink_to(target)
    return [
        lambda: _rename(path, plain),
        lambda: _rename(link, path),
        lambda: _rename(path, link),
        lambda: _rename(plain, path),
    ]


def _rename(path: Path, target: Path) -> None:
    """Where a writer has made a folder meanwhile, that one goes."""
    while path.is_symlink() or path.exists():
        with suppress(OSError):
            path.rename(target)
            return
        shutil.rmtree(target, ignore_errors=True)


@pytest.mark.parametrize("swapped", ["workspace/in/file", "workspace/in", "workspace"])
def test_a_link_that_comes_while_it_is_read_is_not_followed(secret: Path, swapped: str) -> None:
    path = Path("workspace/in/file")
    path.write_text("ours")
    target = secret if Path(swapped) == path else secret.parent
    (secret.parent / "in").mkdir()
    for folder in (secret.parent, secret.parent / "in"):
        (folder / "file").write_text(SECRET)
    seen = set()
    with _swapping(*_to_and_fro(Path(swapped), target)):
        for _ in range(TRIES):
            try:
                seen.add(read_text(path))
            except UserError:
                seen.add("refused")
    assert seen <= {"ours", "refused", ""} and "ours" in seen


@pytest.mark.parametrize("swapped", ["workspace/in", "workspace"])
def test_nothing_lands_beyond_a_link_that_comes_while_it_is_written(secret: Path, swapped: str) -> None:
    (secret.parent / "in").mkdir()
    with _swapping(*_to_and_fro(Path(swapped), secret.parent)):
        for _ in range(TRIES // 10):
            with suppress(UserError, FileNotFoundError):
                write_text(Path("workspace/in/new"), "ours")
    assert sorted(path.name for path in secret.parent.rglob("*")) == ["file", "in"]


def test_a_text_that_is_not_there_is_empty_and_an_agent_file_is_missing(secret: Path) -> None:
    assert read_text(Path("workspace/none")) == read_text(Path("nowhere/none")) == ""
    with pytest.raises(FileNotFoundError):
        read_plain(Path("workspace/none"))


def test_who_names_a_place_by_an_absolute_path_may_have_it_beyond_a_link(secret: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").symlink_to(tmp_path / "vault")
    write_text(tmp_path / "mine" / "new", "ours")
    assert (tmp_path / "vault" / "new").read_text() == "ours"


@pytest.mark.parametrize("path", ["workspace/../../secret", "../secret", "workspace/.."])
def test_no_path_leads_out_of_its_root(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checkout" / "workspace").mkdir(parents=True)
    (tmp_path / "secret").write_text("kept")
    monkeypatch.chdir(tmp_path / "checkout")
    for attempt in (lambda: read_text(Path(path)), lambda: write_text(Path(path), "lost")):
        with pytest.raises(UserError, match=r"has no '\.\.'"):
            attempt()
    assert (tmp_path / "secret").read_text() == "kept"


def test_of_a_link_in_a_folders_place_the_link_is_removed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o500)
    (tmp_path / "link").symlink_to(kept)
    remove_tree(tmp_path / "link")
    assert not (tmp_path / "link").is_symlink() and kept.stat().st_mode & 0o777 == 0o500


def test_a_text_is_added_to_what_is_there_and_what_it_ends_with_is_read(secret: Path) -> None:
    path = Path("workspace/in/log")
    write_text(path, "one\n")
    append_text(path, "two\n")
    assert (read_end(path, 4), read_end(path, 100)) == (b"two\n", b"one\ntwo\n")
    path.chmod(0o400)
    append_text(path, "three\n")
    assert path.read_text() == "one\ntwo\nthree\n"


def test_nothing_is_added_to_what_a_link_leads_to(secret: Path) -> None:
    for made in (_link, _hard_link):
        path = made(secret)
        for attempt in (lambda: append_text(path, "more"), lambda: read_end(path, 4)):  # noqa: B023
            with pytest.raises(NotPlain):
                attempt()
        path.unlink()
    assert secret.read_text() == SECRET


@pytest.mark.parametrize("settled", [False, True])
def test_what_was_made_of_a_file_is_made_anew_where_it_changed(tmp_path: Path, settled: bool) -> None:
    """Also at once, with the same size, and with its time set back."""
    path, made = tmp_path / "file", list[str]()

    def make(path: Path) -> str:
        made.append(path.read_text())
        return made[-1]

    remembered = Remembered(make)
    path.write_text("0")
    for number in map(str, range(1, 9)):
        if settled:
            time.sleep(0.06)
            assert len({remembered.of(path) for _ in range(3)}) == 1
        before = path.stat()
        path.write_text(number)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert remembered.of(path) == number
    if settled:
        assert len(made) <= 2 * 8 + 1, "it is not read each time"


@pytest.mark.parametrize("links", [True, False], ids=["hard-links", "none"])
def test_of_many_writers_of_a_new_file_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def no_link(*arguments: object, **named: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", no_link)
    path, won = tmp_path / "trial.json", []

    def write(number: int) -> None:
        with suppress(FileExistsError):
            begin_json(path, number)
            won.append(number)

    writers = [threading.Thread(target=write, args=[number]) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert won == [json.loads(path.read_text())] and list(tmp_path.iterdir()) == [path]


def test_names_what_differs_between_two_states() -> None:
    assert differences({"a": "1", "b": "1", "c": "1"}, {"d": "1", "b": "2", "c": "1"}) == {
        "a": "missing",
        "b": "changed",
        "d": "new",
    }


def test_of_what_is_gone_nothing_is_remembered(tmp_path: Path) -> None:
    remembered = Remembered(Path.read_text)
    (tmp_path / "file").write_text("here")
    time.sleep(0.06)
    assert remembered.of(tmp_path / "file") == "here"
    (tmp_path / "file").unlink()
    with pytest.raises(FileNotFoundError):
        remembered.of(tmp_path / "file")
