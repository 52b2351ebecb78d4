"""On one thread chance and time come from a source that the caller names; other threads notice nothing."""

import copy
import datetime as datetime_module
import os
import pickle
import random
import sys
import threading
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

from autoharness.benchmarks.tau2 import random_sources
from autoharness.benchmarks.tau2.random_sources import Source, drawing

NOW_NS = 1_793_000_000 * 10**9


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    random_sources.install()


def _source(key: bytes = b"key") -> Source:
    return Source(key, NOW_NS)


def _drawn() -> list[Any]:
    return [random.random(), os.urandom(4), random.Random().random(), time.time(), time.perf_counter()]


def test_the_same_key_draws_the_same_and_another_does_not() -> None:
    draws = []
    for key in (b"a", b"a", b"b"):
        with drawing(_source(key)):
            draws.append(_drawn())
    assert draws[0] == draws[1] != draws[2]


def test_outside_everything_is_as_ever_again_also_after_an_error() -> None:
    with pytest.raises(KeyError), drawing(_source()):
        raise KeyError
    random.seed(5)
    mine = random.random()
    assert mine == random.Random(5).random()
    assert abs(time.time() - time.clock_gettime(time.CLOCK_REALTIME)) < 60
    assert len({os.urandom(8) for _ in range(10)}) == 10


def test_draws_of_a_tool_do_not_move_pythons_own_generator() -> None:
    random.seed(5)
    with drawing(_source()):
        random.seed(1)
        random.random()
    assert random.random() == random.Random(5).random()


def test_another_thread_draws_as_ever_meanwhile() -> None:
    seen: list[float] = []
    with drawing(_source()):
        thread = threading.Thread(target=lambda: seen.append(time.time()))
        thread.start()
        thread.join()
        assert abs(time.time() - NOW_NS / 10**9) < 1
    assert abs(seen[0] - NOW_NS / 10**9) > 1


def test_a_generator_with_a_seed_of_its_own_keeps_it() -> None:
    """A tool that shuffles with a fixed seed answers as with plain tau2."""
    with drawing(_source()):
        assert random.Random(5).random() == random.Random(5).random() != random.random()


def test_a_generator_that_a_module_keeps_can_be_copied() -> None:
    """A tool's module may hand out copies of its own."""
    module = ModuleType("keeps_a_generator")
    module.kept = random.Random(7)  # type: ignore[attr-defined]
    random_sources.rebind(module)
    assert copy.deepcopy(module.kept).random() == random.Random(7).random()


def test_a_loop_that_waits_for_the_clock_ends() -> None:
    with drawing(_source()):
        until = time.time() + 0.01
        while time.time() < until:
            pass


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """One that a tool imports while it draws, and that draws while it is imported."""
    (tmp_path / "drawn_late.py").write_text("import random\nfrom datetime import date\nfirst = random.random()\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield ModuleType("drawn_late")
    sys.modules.pop("drawn_late", None)


@pytest.mark.usefixtures("module")
def test_what_a_module_draws_while_it_is_imported_is_no_part_of_a_call() -> None:
    """The second call would not draw it."""

    def drawn() -> float:
        import drawn_late  # type: ignore[import-not-found]

        assert drawn_late.date is date
        return random.random()

    with drawing(_source()):
        first = drawn()
    with drawing(_source()):
        assert drawn() == first


def test_dates_are_pickled_as_ever_while_drawing() -> None:
    """Records of databases are copied so."""
    with drawing(_source()):
        assert pickle.loads(pickle.dumps(datetime(2026, 10, 25))) == datetime(2026, 10, 25)


class Dated(BaseModel):
    made: random_sources.Datetime
    day: random_sources.Date


def test_dates_of_modules_that_were_bound_again_are_pythons_own() -> None:
    then = random_sources.Datetime(2026, 10, 25, 1, 30)
    assert type(then) is datetime and isinstance(then, random_sources.Datetime)
    assert isinstance(datetime.now(), random_sources.Datetime) and not isinstance("", random_sources.Datetime)
    assert issubclass(datetime, random_sources.Datetime)
    assert type(random_sources.Datetime.strptime("2026", "%Y")) is datetime
    assert type(random_sources.Datetime.fromisoformat("2026-10-25")) is datetime
    assert random_sources.Date(2026, 10, 25) == date(2026, 10, 25) and type(random_sources.Date.today()) is date
    made = Dated(made="2026-10-25T01:30:00", day="2026-10-25")
    assert (made.made, made.day) == (then, date(2026, 10, 25))


def test_the_time_is_utc_and_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever zone the machine is in, and whatever is done to its clock."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        berlin = timezone(timedelta(hours=2))
        now = random_sources.Datetime.now()
        assert abs(now - datetime.now(datetime_module.UTC).replace(tzinfo=None)) < timedelta(minutes=5)
        assert random_sources.Datetime.now(berlin).utcoffset() == timedelta(hours=2)
        monkeypatch.setattr(time, "time", lambda: 0.0)  # somebody sets it
        monkeypatch.setattr(time, "time_ns", lambda: 0)
        times = [random_sources.Datetime.now() for _ in range(50)]
        assert times == sorted(times) and times[0] >= now
    finally:
        monkeypatch.undo()
        time.tzset()
