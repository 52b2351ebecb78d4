"""SIGTERM ends a command as Ctrl-C does, and a container's command ends some time after its client has gone.

SIGTERM comes from `docker compose stop`, from systemd, from `kill`; and from `docker compose run` if that is ended
itself, twice then. A client that is killed sends nothing. Its command's standard input is closed, if it was open to a
pipe until then. With a terminal, or with /dev/null as its input, a command cannot tell, and goes on.
"""

import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from autoharness.core.command_form import in_compose

SIGTERM = "SIGTERM"
_BEGUN_S = 5.0
"""An input that ends before that was a file or /dev/null: it tells nothing of the client."""
_GRACE_S = 30.0
_ONE_END_S = 2.0
"""Two signals within this time are one wish."""
_LOOK_S = 1.0


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """A SIGTERM raises KeyboardInterrupt, which says so; further ones at the same time do nothing."""
    last_s = -math.inf

    def take(number: int, frame: FrameType | None) -> None:
        nonlocal last_s
        is_one_more, last_s = time.monotonic() - last_s < _ONE_END_S, time.monotonic()
        if not is_one_more:
            raise KeyboardInterrupt(SIGTERM)

    before = signal.signal(signal.SIGTERM, take)
    if in_compose():
        threading.Thread(target=_end_with_client, daemon=True).start()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end_with_client() -> None:
    time.sleep(_BEGUN_S)
    if _is_closed(0):
        return
    while not _is_closed(0):
        time.sleep(_LOOK_S)
    time.sleep(_GRACE_S)
    print("the client of this container has gone: ending", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)


def _is_closed(descriptor: int) -> bool:
    """Whether nobody can write to it any more; of a file never."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & (select.POLLHUP | select.POLLNVAL) for _, event in poll.poll(0))
