"""Seeded tools: tau2's tools draw the same random values and read the same time in a conversation and in its replay.

To score a conversation tau2 makes its tool calls once more, and raises if a tool's answer differs. A tool that draws
an id always differs: then there is no reward, for an agent that makes such a call when it has noticed a mistake. So
each call draws from its own source, which depends on the simulation and on the call's place among the tool calls of
the conversation. It has that place in the replay too, though tau2-bench 1.0.x leaves out some calls there. A second
try of the same trial draws the same again. The environment that plays the reference actions has no such source: if
both draw an id, the ids differ, as with plain tau2, and the databases are unequal.

What this does not cover: what an environment draws while it is made, or in `sync_tools` outside of a call.
"""

import hashlib
import hmac
import json
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, wraps
from itertools import count
from typing import Any

from autoharness.benchmarks.tau2 import random_sources

_secret = secrets.token_bytes(32)
"""It keeps anyone from working out a trial's seed from what a tool drew. `use` sets the vault's secret."""
_STARTED_NS = random_sources.now_ns()
_begun_ns: ContextVar[int] = ContextVar("begun_ns", default=_STARTED_NS)
"""When the first try of this conversation began."""
_CALL_NS = 10**9
"""On a tool's clock a call begins a second after the one before."""


def use(secret: str) -> None:
    """Use the vault's secret. With it a further try draws the same, whichever command makes it."""
    global _secret
    _secret = secret.encode()


@contextmanager
def begun(at_ns: int) -> Iterator[None]:
    """In the block this thread's conversations count as begun then: so a further try reads the same time."""
    token = _begun_ns.set(at_ns)
    try:
        yield
    finally:
        _begun_ns.reset(token)


def key_of(domain: str, task_id: str, seed: int) -> bytes:
    """The key of a simulation. All tries of one trial share it."""
    return hmac.digest(_secret, json.dumps([domain, task_id, seed]).encode(), hashlib.sha256)


class _Played:
    """A conversation that is played or replayed on this thread."""

    def __init__(self, key: bytes) -> None:
        self._key, self._begun_ns = key, _begun_ns.get()
        self.environment: Any = None
        """The first environment whose state is set: the conversation's or its replay's, not the reference's."""
        self._calls: Iterator[tuple[int, Any]] = iter(())

    def begin(self, environment: Any, history: list[Any]) -> None:
        calls = [call for message in history for call in getattr(message, "tool_calls", None) or []]
        self.environment = environment
        self._calls = _then_any(calls)

    def source(self, call: Any) -> random_sources.Source:
        place = next(place for place, made in self._calls if made is None or made == call)
        return self.source_of(place + 1)

    def source_of(self, number: int) -> random_sources.Source:
        """The source of a call by its number; 0: for setting the state."""
        key = hmac.digest(self._key, str(number).encode(), hashlib.sha256)
        return random_sources.Source(key, self._begun_ns + number * _CALL_NS)


_played: ContextVar[_Played | None] = ContextVar("played", default=None)


@contextmanager
def playing(key: bytes | None) -> Iterator[None]:
    """Play or evaluate a conversation. `key`: of its simulation; None: its tools draw as usual."""
    token = _played.set(_Played(key) if key else None)
    try:
        yield
    finally:
        _played.reset(token)


def install(environment_class: Any) -> None:
    """Once for each process, before others change the class."""
    random_sources.install()
    _rebind()
    set_state_in, respond_in = environment_class.set_state, environment_class.get_response

    @wraps(set_state_in)
    def set_state(self: Any, *arguments: Any, **named: Any) -> Any:
        played = _played.get()
        if played is None or played.environment is not None:
            return set_state_in(self, *arguments, **named)
        _rebind(type(self.tools), type(self.user_tools))
        played.begin(self, named["message_history"] if "message_history" in named else arguments[2])
        with random_sources.drawing(played.source_of(0)):
            return set_state_in(self, *arguments, **named)

    @wraps(respond_in)
    def get_response(self: Any, call: Any) -> Any:
        played = _played.get()
        if played is None or played.environment is not self:
            return respond_in(self, call)
        with random_sources.drawing(played.source(call)):
            response = respond_in(self, call)
        response.timestamp = random_sources.utc_now().isoformat()  # the conversation's, not the tool's
        return response

    environment_class.set_state, environment_class.get_response = set_state, get_response


def _then_any(calls: list[Any]) -> Iterator[tuple[int, Any]]:
    """The calls of a history, each with its place; then the places of later calls."""
    yield from enumerate(calls)
    yield from ((place, None) for place in count(len(calls)))


def _rebind(*toolkits: type) -> None:
    """Rebind the modules of tau2 that are loaded by now, and the toolkits' modules."""
    _rebind_once(len(sys.modules), toolkits)


@lru_cache(maxsize=100)
def _rebind_once(loaded: int, toolkits: tuple[type, ...]) -> None:
    """`loaded`: how many modules. This costs a millisecond, and is repeated when more modules are loaded."""
    named = {kind.__module__ for toolkit in toolkits for kind in toolkit.__mro__}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "tau2" or name in named:
            random_sources.rebind(module)
