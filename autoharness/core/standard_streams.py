"""Standard error, where nobody may be at its other end: a terminal that was closed, a log on a full disk, a pipe
whose reader is gone. What cannot be said there is not said, and ends nothing: a night does not hang on its log.

Results on standard output are another matter: a command that cannot hand them over says so.
"""

import os
from contextlib import suppress
from typing import Any, TextIO


class _Wrapped:
    """A text stream; what happens to an OSError of its writes is for `_failed`, all else is the stream's own."""

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
        """It is forgiven."""

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
    """Standard output; an OSError of its writes says that it is."""
    return _Named(stream)


def let_go(stream: TextIO) -> bool:
    """Before Python ends, which would complain about what it cannot write, with a code of its own.

    Whether something is lost that was to be written.
    """
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        with suppress(OSError):
            stream.flush()
        return True
    return False
