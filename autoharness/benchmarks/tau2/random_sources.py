"""Seeded randomness and time for code on one thread: inside `drawing` both come from a source, not the process.

`install` replaces Python's own functions (of `random`, `secrets`, `uuid`, `os.urandom`, `time`, `datetime`, numpy) by
ones that look for a source first. `rebind` does so in a module that imported them by name. Outside of `drawing` all
work as usual, on every thread, with one exception: rebound modules read the date in UTC, from a clock that never goes
back.

What this does not reach: what an extension module or another process draws, the address of an object, a counter or a
numpy generator that a tool's module keeps, clocks by number and those of the processor (`time.clock_gettime`,
`time.process_time`), and `datetime.now` if anything but a rebound module holds it - as a default factory, say.
"""

import builtins
import datetime as datetime_module
import importlib
import os
import random
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cached_property, wraps
from threading import Lock
from types import ModuleType
from typing import Any

_EPOCH = datetime(1970, 1, 1)
_SECOND_NS = 10**9
_monotonic_ns = time.monotonic_ns
_BEGUN_NS = time.time_ns() - _monotonic_ns()
"""Added to the monotonic clock it gives the time of day, as the clock was set when this process began."""
_CLOCKS = ("time", "monotonic", "perf_counter")
_OF_NOW = {"gmtime": 0, "localtime": 0, "ctime": 0, "asctime": 0, "strftime": 1}
"""Functions of `time` that use the present time if the argument with this number is missing."""


class Source:
    """The source of one tool call's randomness and time: the same key and time give the same draws and readings."""

    def __init__(self, key: bytes, now_ns: int) -> None:
        self._key = key
        self._now_ns = now_ns

    def now_ns(self) -> int:
        """The time moves on with each reading, so that a loop that waits for it ends."""
        self._now_ns += 1000
        return self._now_ns

    @cached_property
    def random(self) -> random.Random:
        return random.Random(self._key)

    @cached_property
    def numpy(self) -> Any:
        return sys.modules["numpy.random"].RandomState(self.random.getrandbits(32))


_source: ContextVar[Source | None] = ContextVar("source", default=None)
_instead: dict[int, tuple[Any, Any]] = {}
"""By `id`: what code may hold by name, and what replaces it."""
_bound: set[str] = set()
_binding = Lock()


@contextmanager
def drawing(source: Source) -> Iterator[None]:
    """In the block this thread draws from the source, and reads the source's time."""
    _install_numpy()
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


def now_ns() -> int:
    """The time since 1970 in UTC. It never goes back, whatever is done to the machine's clock."""
    source = _source.get()
    return source.now_ns() if source else _BEGUN_NS + _monotonic_ns()


def utc_now() -> datetime:
    """The time in UTC without a zone, as tau2 writes it."""
    return _EPOCH + timedelta(microseconds=now_ns() // 1000)


def install() -> None:
    """Once for each process; a second call does nothing."""
    if _instead:
        return
    _put(os, "urandom", lambda source, count: source.random.randbytes(count))
    _put(random, "_urandom", lambda source, count: source.random.randbytes(count))  # SystemRandom's and secrets'
    _put(uuid, "uuid1", lambda source, *_, **__: uuid.UUID(int=source.random.getrandbits(128), version=1))
    for name in random.__all__:
        if getattr(getattr(random, name), "__self__", None) is random._inst:
            _put(random, name, _of_random(name))
    for name in _CLOCKS:
        _put(time, f"{name}_ns", lambda source: source.now_ns())
        _put(time, name, lambda source: source.now_ns() / _SECOND_NS)
    for name, place in _OF_NOW.items():
        _put(time, name, _of_now(getattr(time, name), place))
    _seed_new_generators()
    for module, name in ((builtins, "__import__"), (importlib, "import_module")):
        setattr(module, name, _imports(getattr(module, name)))
    for held, instead in ((datetime, Datetime), (date, Date), (datetime_module, _datetime_module)):
        _instead[id(held)] = held, instead


def rebind(module: ModuleType) -> None:
    """Make a module use the replacements of functions that it imported by name. Once for each module."""
    with _binding:
        if module.__name__ in _bound:
            return
        for name, value in list(vars(module).items()):
            held, instead = _instead.get(id(value), (None, None))
            if instead is not None and held is value:
                setattr(module, name, instead)
            elif type(value) is random.Random:
                setattr(module, name, _Generator(value))
        _bound.add(module.__name__)


def _put(module: Any, name: str, drawn: Callable[..., Any]) -> None:
    """`drawn` takes the source, then what the function takes."""
    as_ever = getattr(module, name)

    @wraps(as_ever)
    def function(*arguments: Any, **named: Any) -> Any:
        source = _source.get()
        return drawn(source, *arguments, **named) if source else as_ever(*arguments, **named)

    _instead[id(as_ever)] = as_ever, function
    setattr(module, name, function)


def _of_random(name: str) -> Callable[..., Any]:
    return lambda source, *arguments, **named: getattr(source.random, name)(*arguments, **named)


def _of_now(as_ever: Callable[..., Any], place: int) -> Callable[..., Any]:
    def at(source: Source, *arguments: Any) -> Any:
        if len(arguments) > place and arguments[place] is not None:
            return as_ever(*arguments)
        seconds = source.now_ns() // _SECOND_NS
        wants_parts = as_ever.__name__ in ("strftime", "asctime")
        return as_ever(*arguments[:place], time.gmtime(seconds) if wants_parts else seconds)

    return at


def _seed_new_generators() -> None:
    """A `random.Random()` that is made without a seed takes one from the source."""
    seed_in = random.Random.seed

    @wraps(seed_in)
    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        source = _source.get()
        seed_in(self, source.random.getrandbits(256) if source and a is None else a, version)

    random.Random.seed = seed  # type: ignore[method-assign]


def _imports(import_in: Callable[..., Any]) -> Callable[..., Any]:
    """What a module does at its first import is no part of a call: the next call would not do it."""

    @wraps(import_in)
    def imported(name: str, *arguments: Any, **named: Any) -> Any:
        token = _source.set(None)
        try:
            module = import_in(name, *arguments, **named)
        finally:
            _source.reset(token)
        if _source.get():
            _install_numpy()
        importer = arguments[0].get("__name__") if arguments and isinstance(arguments[0], dict) else None
        return _datetime_module if module is datetime_module and importer in _bound else module

    return imported


def _install_numpy() -> None:
    """Replace numpy's functions of the generator that all share. New generators draw their seed from `secrets`."""
    numpy_random: Any = sys.modules.get("numpy.random")
    if not hasattr(numpy_random, "random") or hasattr(numpy_random.random, "__wrapped__"):
        return
    for name in numpy_random.__all__:
        function = getattr(numpy_random, name)
        if callable(function) and not isinstance(function, type) and hasattr(numpy_random.RandomState, name):
            _put(numpy_random, name, _of_numpy(name))


def _of_numpy(name: str) -> Callable[..., Any]:
    return lambda source, *arguments, **named: getattr(source.numpy, name)(*arguments, **named)


class _AsBase(type):
    """The metaclass of a class that makes and recognises instances of its base."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.__mro__[1])

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.__mro__[1])


class Datetime(datetime, metaclass=_AsBase):
    """`datetime` for rebound modules."""

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        return datetime(*arguments, **named)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        now = utc_now()
        return now if tz is None else now.replace(tzinfo=UTC).astimezone(tz)

    @classmethod
    def today(cls) -> Any:
        return utc_now()

    @classmethod
    def utcnow(cls) -> Any:
        return utc_now()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return handler(datetime)


class Date(date, metaclass=_AsBase):
    """`date` for rebound modules."""

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        return date(*arguments, **named)

    @classmethod
    def today(cls) -> Any:
        return utc_now().date()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return handler(date)


class _Generator:
    """Replaces a generator that a module keeps: each conversation and each replay would find it in another state."""

    def __init__(self, as_ever: random.Random) -> None:
        self._as_ever = as_ever

    def __getattr__(self, name: str) -> Any:
        if name == "_as_ever":  # a copy that has no fields yet
            raise AttributeError(name)
        source = _source.get()
        return getattr(source.random if source else self._as_ever, name)


_datetime_module = ModuleType("datetime")
vars(_datetime_module).update(vars(datetime_module) | {"datetime": Datetime, "date": Date})
