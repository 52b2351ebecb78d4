"""Live listening to a conversation: what runs it reports each message here; mostly nobody listens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

Hear = Callable[[int, dict[str, Any]], None]
"""Takes the position of a message in its conversation, from 0 on, and the message."""

_hear: ContextVar[Hear | None] = ContextVar("hear", default=None)


@contextmanager
def by(hear: Hear | None) -> Iterator[None]:
    """`hear` hears the conversations that this thread has in the block."""
    token = _hear.set(hear)
    try:
        yield
    finally:
        _hear.reset(token)


def say(place: int, message: dict[str, Any]) -> None:
    """Report a message to the listener, if there is one."""
    if hear := _hear.get():
        hear(place, message)


def follow(orchestrator: Any, dump: Callable[[list[Any]], list[dict[str, Any]]]) -> None:
    """Report each message of tau2's `trajectory` after the step that added it. `dump` makes JSON of messages."""
    if _hear.get() is None:
        return
    step, said = orchestrator.step, 0

    def step_and_say() -> None:
        nonlocal said
        try:
            step()
        finally:
            for message in dump(orchestrator.trajectory[said:]):
                say(said, message)
                said += 1

    orchestrator.step = step_and_say
