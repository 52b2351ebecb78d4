"""Makes stderr and stdout robust: failed writes to stderr are ignored, failed writes to stdout are reported.

A write to stderr fails if the terminal was closed, the log is on a full disk, or the pipe's reader is gone. That must
not end a night's run. Results on stdout matter: a command that cannot deliver them says so.
"""

import os
from contextlib import suppress
from typing import Any, TextIO


class _Wrapped:
    """A text stream: `_failed` handles an OSError of its writes, everything else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except OSError as error:
            self._failed(error)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        """Ignores the error."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Named(_Wrapped):
    def _failed(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):
            raise error
        raise OSError(error.errno, error.strerror, "standard output") from error


def forgiving(stream: TextIO) -> Any:
    """The stream; its writes raise no OSError."""
    return _Wrapped(stream)


def named(stream: TextIO) -> Any:
    """Standard output; an OSError of its writes names it."""
    return _Named(stream)


def let_go(stream: TextIO) -> bool:
    """Flush before Python ends: it would report what it cannot write, with an exit code of its own.

    Returns whether some output is lost.
    """
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        with suppress(OSError):
            stream.flush()
        return True
    return False
