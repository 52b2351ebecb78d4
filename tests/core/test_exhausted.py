"""What the machine ran out of is one line with its name and the way out."""

import errno
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from autoharness.core.exhausted import full_of, is_of_a_disk, line_of, mended_by_a_person


def _error(number: int, file: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), file) if file else OSError(number, os.strerror(number))


def _disk(free_bytes: int) -> SimpleNamespace:
    """As statvfs describes one of 4 MB."""
    blocks = {"f_frsize": 1024, "f_blocks": 4096, "f_bavail": free_bytes // 1024}
    return SimpleNamespace(**blocks, f_files=100, f_favail=50)


@pytest.mark.parametrize(
    ("number", "way_out"),
    [
        (errno.ENOSPC, "make room there, and the same command goes on"),
        (errno.EDQUOT, "make room there"),
        (errno.EROFS, "make it readable and writable"),
        (errno.EACCES, "make it readable and writable"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EMFILE, "ulimit -n 4096"),
        (errno.EAGAIN, "ulimit -u"),
    ],
)
def test_a_file_and_its_way_out(number: int, way_out: str) -> None:
    line = line_of(_error(number, "vault/x"))
    assert line.startswith("vault/x: ") and way_out in line


def test_an_error_without_a_file_names_the_folder_whose_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures of a disk are patched: a real one is filled in test_adversity."""
    free = {tmp_path: 10_000_000, tmp_path / "vault": 100_000}
    monkeypatch.setattr(os, "statvfs", lambda place: _disk(free[place]))
    line = line_of(_error(errno.ENOSPC), free)
    assert line.startswith(f"{tmp_path / 'vault'} (0.1 of 4 MB free): the disk is full: make room there")
    assert full_of([tmp_path]) == "" and line_of(_error(errno.ENOSPC), [tmp_path]).startswith("the disk is full")


def test_what_nobody_can_mend_is_no_line() -> None:
    assert line_of(_error(errno.EINVAL)) == ""
    assert line_of(_error(errno.ENOENT, "x")) == "x: No such file or directory"


def test_where_no_folder_takes_temporary_files_they_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the disk of all of them is full: `tempfile` tries each."""
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/nowhere"])
    with pytest.raises(FileNotFoundError) as raised:
        tempfile._get_default_tempdir()  # type: ignore[attr-defined]
    assert "['/proc/nowhere']: make room in one of them, or set TMPDIR" in line_of(raised.value)


def test_only_a_disk_that_takes_nothing_more_is_for_a_person_and_no_failed_try() -> None:
    assert is_of_a_disk(_error(errno.ENOSPC)) and not is_of_a_disk(_error(errno.EMFILE))
    assert str(mended_by_a_person(_error(errno.ENOSPC), Path("vault"))).startswith("vault: the disk is full")
