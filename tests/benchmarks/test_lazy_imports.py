"""Libraries that are imported when they are first used."""

import sys
from pathlib import Path

import pytest

from autoharness.benchmarks.lazy_imports import postponed

LIBRARY = """
calls = []
def note(what):
    calls.append(what)
    return len(calls)
class Thing:
    def __init__(self, value): self.value = value
"""
USER = """
import slowlib
import slowlib.inner.deep
from slowlib import Thing, note
from slowlib.inner.deep import number
from typing import Optional

slowlib.setting = True
note("while it was imported")

def use() -> Optional[Thing]:
    note("later")
    return Thing(number())
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slowlib" / "inner").mkdir(parents=True)
    (tmp_path / "slowlib" / "__init__.py").write_text(LIBRARY)
    (tmp_path / "slowlib" / "inner" / "__init__.py").touch()
    (tmp_path / "slowlib" / "inner" / "deep.py").write_text("def number(): return 7")
    (tmp_path / "slow_user.py").write_text(USER)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("slow")]:
        monkeypatch.delitem(sys.modules, name)


def loaded() -> set[str]:
    return {name for name in sys.modules if name.startswith("slowlib")}


def test_a_library_is_imported_when_what_is_in_it_is_used(library: None) -> None:
    with postponed("slowlib"):
        import slow_user  # type: ignore[import-not-found]
    assert not loaded()
    thing = slow_user.use()
    assert loaded() == {"slowlib", "slowlib.inner", "slowlib.inner.deep"}
    import slowlib  # type: ignore[import-not-found]

    assert type(thing) is slowlib.Thing and thing.value == 7
    assert slowlib.calls == ["later"]  # what was to be done while it was postponed is not
    assert not hasattr(slowlib, "setting")


def test_a_library_that_is_there_already_is_found(library: None) -> None:
    import slowlib

    with postponed("slowlib"):
        import slow_user
    assert slowlib.setting and slowlib.calls == ["while it was imported"] and slow_user.Thing is slowlib.Thing
