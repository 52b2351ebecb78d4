"""Files of lines: what is appended, through kills; and that what a process knows of one is what is in it."""

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoharness.core import json_lines
from autoharness.core.json_lines import Followed

_read: list[str] = []
"""Every line that was taken."""


def _take(state: list[str], line: str) -> None:
    _read.append(line)
    state.append(line)


_followed: Followed[list[str]] = Followed(lambda _: [], _take)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """With two lines, from some time ago."""
    _read.clear()
    path = tmp_path / "lines.jsonl"
    path.write_text("1\n2\n")
    _age(path)
    return path


def _age(path: Path) -> None:
    """Wait until a change of the file shows."""
    while not json_lines.has_settled(path.stat()):
        time.sleep(0.01)


def _append(path: Path, value: object) -> None:
    with json_lines.alone(path) as file:
        json_lines.append(path, file, value)


def test_each_line_is_taken_once_however_often_it_is_asked_for_and_appended_to(file: Path) -> None:
    assert _followed.of(file) == ["1", "2"]
    for number in range(3, 8):
        _append(file, number)
        assert _followed.of(file) == [str(one) for one in range(1, number + 1)]
    assert _read == [str(one) for one in range(1, 8)]
    assert json_lines.count(file) == 7


def _written(path: Path) -> None:
    with path.open("r+") as file:
        file.write("9")


def _written_with_its_time_set_back(path: Path) -> None:
    times = path.stat()
    _written(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _replaced(path: Path) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(f"9{path.read_text()[1:]}")
    beside.replace(path)


def _appended_by_others(path: Path) -> None:
    with path.open("a") as file:
        file.write("9\n")


@pytest.mark.slow
@pytest.mark.parametrize("aged", [False, True])
@pytest.mark.parametrize("change", [_written, _replaced, _appended_by_others])
def test_what_others_write_is_seen_however_soon_it_comes(file: Path, change: object, aged: bool) -> None:
    """Also within the tick of the clock in which this process appended a line, and of the same size."""
    for _ in range(20):
        _followed.of(file)
        _append(file, 3)
        assert _followed.of(file)[-1] == "3"
        if aged:
            time.sleep(0.005)
        change(file)  # type: ignore[operator]
        assert _followed.of(file) == file.read_text().split()
        _append(file, 4)
        assert _followed.of(file) == file.read_text().split()
        file.write_text("1\n2\n")
        assert _followed.of(file) == ["1", "2"]


def test_a_time_that_was_set_back_hides_no_change(file: Path) -> None:
    _followed.of(file)
    _append(file, 3)
    time.sleep(0.05)
    _written_with_its_time_set_back(file)
    assert _followed.of(file) == ["9", "2", "3"]


def test_what_is_gone_is_gone(file: Path) -> None:
    assert _followed.of(file) == ["1", "2"]
    file.unlink()
    assert _followed.of(file) == [] and json_lines.count(file) == 0
    _append(file, 1)
    assert _followed.of(file) == ["1"]


def _appended_before(content: bytes, value: object) -> bytes:
    """What an append made of a file when it read all of it."""
    whole, end, last = content.rpartition(b"\n")
    kept = content + b"\n" if last and json_lines.is_json(last.decode(errors="replace")) else whole + end
    return kept + json.dumps(value).encode() + b"\n"


@pytest.mark.slow
@settings(deadline=None)
@given(
    st.one_of(
        st.lists(st.sampled_from([b"1", b"\n", b'{"a": 1}', b'{"a"', b"\xff", b'"' + b"x" * 70_000, b'"'])).map(
            b"".join
        ),
        st.binary(max_size=40),
    )
)
def test_an_append_mends_the_last_line_wherever_a_kill_cut_it(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("cut") / "lines.jsonl"
    path.write_bytes(content)
    before = json_lines.read(path)
    _append(path, {"n": 1})
    assert path.read_bytes() == _appended_before(content, {"n": 1})
    assert json_lines.read(path) == [*before, '{"n": 1}']
    assert json_lines.count(path) == len(before) + 1
