"""A log that nobody takes ends nothing; results that nobody takes are an error with a name."""

import os
from collections.abc import Iterator
from typing import TextIO

import pytest

from autoharness.core.standard_streams import forgiving, let_go, named


@pytest.fixture
def full() -> Iterator[TextIO]:
    """Line by line, as standard error is."""
    stream = open("/dev/full", "w", buffering=1)  # noqa: PTH123, SIM115
    yield stream
    let_go(stream)
    stream.close()


def test_what_cannot_be_said_is_not_said(full: TextIO) -> None:
    stream = forgiving(full)
    for _ in range(10_000):  # nothing heaps up either
        print("a line", file=stream, flush=True)
    stream.writelines(["one\n", "two\n"])
    assert stream.fileno() == full.fileno() and not stream.isatty()


def test_a_pipe_without_a_reader_is_forgiven_too() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "w") as pipe:
        print("a line", file=forgiving(pipe), flush=True)
        assert let_go(pipe) in (True, False)


def test_results_that_cannot_be_written_say_where(full: TextIO) -> None:
    with pytest.raises(OSError, match="standard output"):
        print("val_score: 1.0", file=named(full), flush=True)


def test_before_the_end_what_is_left_goes_nowhere() -> None:
    stream = open("/dev/full", "w")  # noqa: PTH123, SIM115
    stream.write("a line")
    assert let_go(stream)
    assert not let_go(stream)
    stream.close()
