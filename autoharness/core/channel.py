"""JSON messages over a socket, one per line: how the door, the workers and the agent hosts talk.

Runs on both sides, so it imports nothing heavy. The far side of a host's channel is untrusted: a line has a
length limit, and a line that does not parse is an error.
"""

import select
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from autoharness.core import strict_json
from autoharness.core.errors import ChannelError, MessageTooLong

MAX_LINE_BYTES = 32 * 1024 * 1024
_BYTES_OF_A_VALUE = 100
_CHUNK_BYTES = 65536

Message = dict[str, Any]


class Channel:
    """A two-way stream of JSON objects. `send` may be called from any thread, `receive` from one."""

    def __init__(
        self, sock: socket.socket, longest_line: int = MAX_LINE_BYTES, most_memory: int | None = None
    ) -> None:
        """`longest_line` and `most_memory`: limits in bytes for a received message; see `memory`."""
        self._sock = sock
        self._longest_line = longest_line
        self._most_memory = most_memory
        self.memory = 0
        """About how many bytes the last received message takes as Python objects."""
        self._received = bytearray()
        """Bytes that were received after the last line that was taken."""
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        """Raises ChannelError if the far side is gone, MessageTooLong, and ValueError or TypeError if not JSON."""
        line = strict_json.dumps(message)
        if len(line) > MAX_LINE_BYTES:
            raise MessageTooLong(f"a message of {len(line)} bytes is over the limit of {MAX_LINE_BYTES}")
        try:
            with self._sending:
                self._sock.sendall(line)
        except OSError as error:
            raise ChannelError(f"the other process is gone: {error}") from error

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message; None once the far side has closed.

        Raises ChannelError for anything else, TimeoutError if the message is not whole after `timeout_s`.
        """
        try:
            line = self._line(None if timeout_s is None else time.monotonic() + timeout_s)
        except TimeoutError:
            raise
        except (OSError, ValueError):
            return None
        if line is None:
            return None
        self.memory = _memory(line)
        if self._most_memory is not None and self.memory > self._most_memory:
            raise ChannelError(f"a message that takes over {self._most_memory} bytes of memory")
        return _parse(line)

    def _line(self, deadline: float | None) -> bytes | None:
        """None once the far side has closed, even in the middle of a line."""
        searched = 0
        while (end := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            if searched > self._longest_line:
                raise ChannelError(f"a line of over {self._longest_line} bytes")
            if deadline is not None:
                self._wait(deadline)
            chunk = self._sock.recv(_CHUNK_BYTES)
            if not chunk:
                return None
            self._received += chunk
        if end >= self._longest_line:
            raise ChannelError(f"a line of over {self._longest_line} bytes")
        line = bytes(self._received[: end + 1])
        del self._received[: end + 1]
        return line

    def _wait(self, deadline: float) -> None:
        """Wait until there is something to receive. Raises TimeoutError."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError

    def close(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that is blocked in `receive`
        self._sock.close()


def _memory(line: bytes) -> int:
    """A list of empty lists takes some 25 times as much memory as space on its line."""
    return len(line) + _BYTES_OF_A_VALUE * sum(map(line.count, (b",", b"[", b"{", b":")))


def _parse(line: bytes) -> Message:
    try:
        return strict_json.loads_object(line.decode())
    except ValueError as error:
        raise ChannelError(f"no message: {error}") from error


def connect(fd: int) -> Channel:
    """The child's end of a channel whose descriptor it inherited."""
    return Channel(socket.socket(fileno=fd))
