"""Messages over real socket pairs: whole and unchanged, or an error."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autoharness.core.channel import MAX_LINE_BYTES, Channel, connect
from autoharness.core.errors import ChannelError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)
MESSAGES = st.dictionaries(st.text(), VALUES, max_size=3)


@contextmanager
def _sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        for end in (near, far):
            end.settimeout(10)  # so that what does not come is a failure, not a hang
        yield near, far


@contextmanager
def _channels() -> Iterator[tuple[Channel, Channel]]:
    with _sockets() as (near, far):
        yield Channel(near), Channel(far)


@pytest.mark.slow
@settings(deadline=None)
@given(MESSAGES)
@example({"a\nb": "line\r\nline\u2028 \x00 \U0001f600", "\\ud800": "\\ud800"})
def test_a_message_arrives_as_it_was_sent(message: dict[str, Any]) -> None:
    with _channels() as (ours, theirs):
        ours.send(message)
        theirs.send({"answer": message})
        assert theirs.receive() == message
        assert ours.receive() == {"answer": message}


def test_many_threads_send_at_once_and_every_line_stays_whole() -> None:
    def send(sender: int) -> None:
        for number in range(10):
            ours.send({"sender": sender, "number": number, "padding": str(sender) * 300_000})

    with _channels() as (ours, theirs):
        threads = [threading.Thread(target=send, args=(sender,)) for sender in range(8)]
        for thread in threads:
            thread.start()
        received = [theirs.receive() or {} for _ in range(8 * 10)]
        for thread in threads:
            thread.join()
    assert all(set(message["padding"]) == {str(message["sender"])} for message in received)
    for sender in range(8):  # one sender's messages keep their order
        assert [one["number"] for one in received if one["sender"] == sender] == list(range(10))


@pytest.mark.parametrize("sent", [b"", b'{"a": 1'], ids=["at-once", "within-a-line"])
def test_the_end_of_the_stream_is_none(sent: bytes) -> None:
    with _sockets() as (near, far):
        far.sendall(sent)
        far.close()
        assert Channel(near).receive() is None


def test_closing_wakes_the_thread_that_waits_for_a_message() -> None:
    received: list[Any] = ["nothing"]
    with _channels() as (ours, _):
        thread = threading.Thread(target=lambda: received.append(ours.receive()))
        thread.start()
        ours.close()
        thread.join(timeout=5)
    assert received == ["nothing", None]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello",
        b'{"a": 1',
        b'{"a": 1}{"b": 2}',
        b"[1]",
        b'"text"',
        b"null",
        b'{"a": NaN}',
        b'{"a": [-Infinity]}',
        b'{"a": 1e999}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b'{"a": "\\uDC00"}',
        b'{"\\ud800": 1}',
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a":' * 101 + b"1" + b"}" * 101,
    ],
    ids=[
        "empty",
        "text",
        "cut-off",
        "two",
        "list",
        "string",
        "null",
        "nan",
        "infinity",
        "too-large",
        "no-utf8",
        "half-a-character",
        "its-other-half",
        "half-a-character-in-a-key",
        "deep",
        "deeper-than-any-message",
    ],
)
def test_what_is_no_json_object_is_an_error(line: bytes) -> None:
    with _sockets() as (near, far):
        writer = threading.Thread(target=far.sendall, args=(line + b"\n",))
        writer.start()
        with pytest.raises(ChannelError, match=r"^no message: "):
            Channel(near).receive()
        writer.join()


@settings(deadline=None)
@given(st.binary(max_size=60).filter(lambda line: b"\n" not in line))
def test_garbage_is_an_error_or_an_object(line: bytes) -> None:
    with _sockets() as (near, far):
        far.sendall(line + b"\n")
        try:
            assert isinstance(Channel(near).receive(), dict)
        except ChannelError as error:
            assert "\n" not in str(error)


def test_the_longest_message_passes_and_a_longer_one_is_not_sent() -> None:
    longest = {"a": "x" * (MAX_LINE_BYTES - len('{"a":""}\n'))}
    with _channels() as (ours, theirs):
        sender = threading.Thread(target=ours.send, args=(longest,))
        sender.start()
        assert theirs.receive() == longest
        sender.join()
        with pytest.raises(ValueError, match="over the limit"):
            ours.send({"a": longest["a"] + "x"})


def test_a_line_over_the_limit_is_an_error() -> None:
    with _sockets() as (near, far):
        writer = threading.Thread(target=far.sendall, args=(b"x" * (MAX_LINE_BYTES + 1),))
        writer.start()
        with pytest.raises(ChannelError, match="a line of over"):
            Channel(near).receive()
        writer.join()


@pytest.mark.parametrize(
    ("value", "error"),
    [(float("nan"), ValueError), (float("-inf"), ValueError), ("\ud800", ValueError), ({1}, TypeError)],
    ids=["nan", "infinity", "half-a-character", "set"],
)
def test_what_is_no_json_is_not_sent(value: Any, error: type[Exception]) -> None:
    with _channels() as (ours, theirs):
        with pytest.raises(error):
            ours.send({"a": value})
        ours.send({"a": "next"})
        assert theirs.receive() == {"a": "next"}


@pytest.mark.parametrize(
    ("value", "taken"),
    [("a" * 90_000, True), ([[]] * 1000, True), ([[]] * 10_000, False), ({str(n): {} for n in range(5000)}, False)],
    ids=["text", "few", "lists", "objects"],
)
def test_a_message_that_grows_in_memory_is_an_error_before_it_is_parsed(value: Any, taken: bool) -> None:
    """A short line of empty lists would take many times as much."""
    with _sockets() as (near, far):
        Channel(near).send({"value": value})
        receiver = Channel(far, most_memory=1_000_000)
        if taken:
            assert receiver.receive() == {"value": value} and 0 < receiver.memory <= 1_000_000
        else:
            with pytest.raises(ChannelError, match="bytes of memory"):
                receiver.receive()


def test_sending_to_a_closed_end_is_an_error() -> None:
    with _channels() as (ours, theirs):
        theirs.close()
        with pytest.raises(ChannelError, match="the other process is gone"):
            ours.send({"a": 1})


def test_the_child_connects_through_the_descriptor_it_inherited() -> None:
    with _sockets() as (near, far):
        child = connect(far.detach())
        child.send({"from": "child"})
        assert Channel(near).receive() == {"from": "child"}
        child.close()
